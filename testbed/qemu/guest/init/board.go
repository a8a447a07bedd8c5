// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
)

// fixBoard works around what an emulated Malta has wrong.
func fixBoard(machine string) error {
	if machine != "mips" && machine != "mips64" {
		return nil
	}
	return errors.Join(interruptsByLevel(), otherTimer())
}

// interruptsByLevel does what the firmware would have done: the emulator's i8259 comes up with all interrupts by edge, and
// then one of two PCI devices on the same line is forgotten now and then, for ever.
func interruptsByLevel() error {
	const elcr2, pci = 0x4d1, 1<<(10-8) | 1<<(11-8) // edge/level control of lines 8 to 15; PIIX4 has PCI on 10 and 11
	port, err := os.OpenFile("/dev/port", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("interrupts by level: %w", err)
	}
	defer port.Close()
	_, err = port.WriteAt([]byte{pci}, elcr2)
	return err
}

// otherTimer makes the kernel use the board's i8253 instead of the processor's own timer. The emulator changes that one in
// two threads without a lock (target/mips: mtc0 Compare against the timer's callback), so that on a busy host an
// interrupt gets lost and the guest sleeps until the counter has come round, 43 s later.
func otherTimer() error {
	return os.WriteFile("/sys/devices/system/clockevents/clockevent0/unbind_device", []byte("MIPS"), 0)
}
