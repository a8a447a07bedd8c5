// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"io"
)

func doctorCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	var found Doctor
	err = show(e, ask, js, "doctor", nil, func(w io.Writer, d *Doctor) { found = *d; writeDoctor(w, d) })
	if err == nil && !js && !found.OK {
		return errors.New("something is wrong; see FAIL above")
	}
	return err
}

func (h *house) doctor(ctx context.Context) (*Doctor, error) { return &Doctor{}, nil }
