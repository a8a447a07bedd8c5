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

// inService is atHome with wide links, a server, a concentrator and the router at work.
func inService(t *testing.T) (h Home, must func(error)) {
	t.Helper()
	h, must = atHome(t, world.Config{Links: wide()})
	must(h.Serve(9000))
	must(h.StartConcentrator())
	must(h.Router.Start(h.TOML()))
	return h, must
}
