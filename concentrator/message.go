// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"errors"
	"io"

	"spillway/convert"
)

// openingLen is the room for a client's first octets: the longest message, and the user data that a SYN can carry
// beside it.
const openingLen = 4096

// opening is the start of a client's stream.
type opening struct {
	message *convert.Message
	raw     []byte // the message as received
	data    []byte // what followed it already
}

// readOpening reads a message, which may come in pieces, and what came with it. have octets of buf are read already;
// buf has room for openingLen. Errors are those of convert.Parse, with raw set where there is something to echo,
// and those of r; io.EOF means that nothing came at all.
func readOpening(r io.Reader, buf []byte, have int) (o opening, err error) {
	for {
		m, n, err := convert.Parse(buf[:have])
		switch {
		case err == nil:
			return opening{message: m, raw: buf[:n], data: buf[n:have]}, nil
		case !errors.Is(err, convert.ErrShort):
			if n == 0 {
				n = min(have, convert.HeaderLen)
			}
			return opening{raw: buf[:n]}, err
		}
		n, err = r.Read(buf[have:])
		if n == 0 && err != nil {
			if err == io.EOF && have > 0 {
				err = io.ErrUnexpectedEOF
			}
			return opening{}, err
		}
		have += n
	}
}
