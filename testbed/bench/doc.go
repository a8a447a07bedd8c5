// SPDX-License-Identifier: Apache-2.0

// Package bench measures Spillway's relay beside others doing the same work on the same machine in the same run:
//
//	lan ── cpe ═╦═ isp ── hag ── srv
//	            ╚═
//
// lan is a host, cpe the router with the relay under test, isp the provider, whose devices towards cpe are shaped, hag the far
// end of all relays, srv a server. The devices have
// no segmentation offload, so that the router sees MTU-size frames as its small network cards would show them. Everybody
// intercepts the same connections and goes to hag over MPTCP on two links, where it can.
//
// A Contestant is a relay, a Work is something to relay, a round is every contestant doing every work. Rounds follow each
// other so that what changes on the machine changes for all; figures are medians over the rounds. The yardsticks
// (yardstick/) say what a relay costs that is written straightforwardly.
package bench
