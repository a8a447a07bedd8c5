// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// bus is filled in with the ubus room.
func (h *house) bus(ctx context.Context) error { <-ctx.Done(); return nil }

func (h *house) doctor(ctx context.Context) (*Doctor, error) { return nil, nil }
