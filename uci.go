// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
)

func uciCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error    { return nil }
func doctorCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error { return nil }
