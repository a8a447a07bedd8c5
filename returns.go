// SPDX-License-Identifier: Apache-2.0

package main

// freeStuck frees what connections have said while their links were away, so that TCP repeats it: it may wait for an answer to ARP, in vain
// (kernel.Reconciler.ForgetNeighbour).
func (h *house) freeStuck(devices []int) {
	for _, device := range devices {
		for _, of := range h.addrs {
			for _, a := range of {
				if far := a.Addr().Unmap(); far.Is4() {
					if err := h.kernel.ForgetNeighbour(device, far); err != nil {
						h.log.Debug("free what waits for ARP", "error", err)
					}
				}
			}
		}
	}
}
