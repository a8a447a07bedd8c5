// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"time"
)

// cookieLen is in octets: 128 bits of HMAC-SHA256, whole words, so that no padding blurs it.
const cookieLen = 16

// jar makes and checks cookies (RFC 8803 section 6.2.7) without remembering any: a cookie is an HMAC over the client's
// address with a key that changes with time. The secret outlives restarts if it comes from a file.
type jar struct {
	secret []byte
	life   time.Duration
}

// make is the cookie of a client at a time.
func (j jar) make(client netip.Addr, now time.Time) []byte {
	return j.sign(client, j.epoch(now))
}

// good tells whether the cookie was made for this client in the current or the last epoch, in constant time.
func (j jar) good(cookie []byte, client netip.Addr, now time.Time) bool {
	e := j.epoch(now)
	return hmac.Equal(cookie, j.sign(client, e)) || hmac.Equal(cookie, j.sign(client, e-1))
}

func (j jar) epoch(now time.Time) int64 { return now.UnixNano() / int64(j.life) }

func (j jar) sign(client netip.Addr, epoch int64) []byte {
	key := hmac.New(sha256.New, j.secret)
	key.Write(binary.BigEndian.AppendUint64([]byte("spillway convert cookie"), uint64(epoch)))
	mac := hmac.New(sha256.New, key.Sum(nil))
	addr := client.As16()
	mac.Write(addr[:])
	return mac.Sum(nil)[:cookieLen]
}

// tokenMatches compares what came in a Cookie TLV, padding included, with the token, in constant time.
func tokenMatches(cookie, token []byte) bool {
	padded := make([]byte, (len(token)+3)&^3)
	copy(padded, token)
	return subtle.ConstantTimeCompare(cookie, padded) == 1
}
