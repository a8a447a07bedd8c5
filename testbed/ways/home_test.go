// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"testing"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// atHome makes a world for a test, and what ends the test at an error.
func atHome(t *testing.T, c world.Config) (h Home, must func(error)) {
	t.Helper()
	netns.Require(t)
	return Home{world.New(t, c)}, func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}
