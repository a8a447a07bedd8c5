// SPDX-License-Identifier: Apache-2.0

// Package traffic is an ordinary TCP server and an ordinary client that check each octet and measure what a user would
// feel: time to connect, time to the first octet, the longest silence, the rate over time.
//
// The server's language is one line, then data:
//
//	get OCTETS SEED BITRATE   the server sends so many octets (-1: until the client closes) at so many bit/s (0: as fast as it goes)
//	put SEED                  the client sends until it half-closes; the server answers with a Report as one line of JSON
//	ask OCTETS                the server answers with so many octets; the line may be repeated on the same connection
package traffic

import "encoding/binary"

// Fill writes the part of the stream named by seed that begins at an offset.
func Fill(b []byte, seed uint64, offset int64) {
	for i := 0; i < len(b); {
		at := offset + int64(i)
		w := word(seed, uint64(at)/8)
		if at%8 == 0 && len(b)-i >= 8 {
			binary.LittleEndian.PutUint64(b[i:], w)
			i += 8
			continue
		}
		b[i] = byte(w >> (8 * (at % 8)))
		i++
	}
}

// Check compares with what Fill writes and returns the index of the first octet that differs, or -1.
func Check(b []byte, seed uint64, offset int64) int {
	for i := 0; i < len(b); {
		at := offset + int64(i)
		w := word(seed, uint64(at)/8)
		if at%8 == 0 && len(b)-i >= 8 && binary.LittleEndian.Uint64(b[i:]) == w {
			i += 8
			continue
		}
		if b[i] != byte(w>>(8*(at%8))) {
			return i
		}
		i++
	}
	return -1
}

// word is the n-th 64-bit word of a stream (splitmix64): any position can be checked without the ones before.
func word(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
