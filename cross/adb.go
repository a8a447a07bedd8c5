// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The database format of apk 3 (apk-tools: src/adb.h, doc/apk-v3.5.scd): little endian on every machine. A value is a
// word of four bits type and 28 bits content or place; what it points to lies before it.

// adbValue is one value word.
type adbValue uint32

// Types of values.
const (
	adbNull   adbValue = 0 // special: null
	adbInt    adbValue = 0x1 << 28
	adbInt32  adbValue = 0x2 << 28
	adbInt64  adbValue = 0x3 << 28
	adbBlob8  adbValue = 0x8 << 28
	adbBlob16 adbValue = 0x9 << 28
	adbBlob32 adbValue = 0xa << 28
	adbArray  adbValue = 0xd << 28
	adbObject adbValue = 0xe << 28
	adbMask   adbValue = 0xf << 28
)

// Blocks of a file.
const (
	blockADB  = 0
	blockSig  = 1
	blockData = 2
)

var adbSchemaPackage = [4]byte{'p', 'c', 'k', 'g'}

// adbWriter builds the payload of a database. Equal contents are stored once.
type adbWriter struct {
	b    []byte
	seen map[string]uint32
}

// newADB begins with the header: compatible and own version 0, then the root, which finish fills in.
func newADB() *adbWriter { return &adbWriter{b: make([]byte, 8), seen: map[string]uint32{}} }

// put stores data at an aligned place and returns the place.
func (w *adbWriter) put(align int, data []byte) uint32 {
	key := string(rune(align)) + string(data)
	if at, ok := w.seen[key]; ok {
		return at
	}
	at := w.append(align, data)
	w.seen[key] = at
	return at
}

func (w *adbWriter) append(align int, data []byte) uint32 {
	for len(w.b)%align != 0 {
		w.b = append(w.b, 0)
	}
	at := uint32(len(w.b))
	w.b = append(w.b, data...)
	return at
}

// blob stores octets; none at all is null.
func (w *adbWriter) blob(data []byte) adbValue {
	le := binary.LittleEndian
	switch n := len(data); {
	case n == 0:
		return adbNull
	case n < 1<<8:
		return adbBlob8 | adbValue(w.put(1, append([]byte{byte(n)}, data...)))
	case n < 1<<16:
		return adbBlob16 | adbValue(w.put(2, append(le.AppendUint16(nil, uint16(n)), data...)))
	default:
		return adbBlob32 | adbValue(w.put(4, append(le.AppendUint32(nil, uint32(n)), data...)))
	}
}

func (w *adbWriter) text(s string) adbValue { return w.blob([]byte(s)) }

// number stores a number; zero is a value too.
func (w *adbWriter) number(n uint64) adbValue {
	switch {
	case n < 1<<28:
		return adbInt | adbValue(n)
	case n < 1<<32:
		return adbInt32 | adbValue(w.put(4, binary.LittleEndian.AppendUint32(nil, uint32(n))))
	default:
		return adbInt64 | adbValue(w.put(8, binary.LittleEndian.AppendUint64(nil, n)))
	}
}

// object stores fields by number from 1; fields[0] is field 1.
func (w *adbWriter) object(fields ...adbValue) adbValue { return w.slots(adbObject, fields) }

// array stores elements.
func (w *adbWriter) array(elements []adbValue) adbValue { return w.slots(adbArray, elements) }

func (w *adbWriter) slots(kind adbValue, vs []adbValue) adbValue {
	for len(vs) > 0 && vs[len(vs)-1] == adbNull {
		vs = vs[:len(vs)-1]
	}
	if len(vs) == 0 {
		return adbNull
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(vs)+1))
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return kind | adbValue(w.put(4, b))
}

// finish names the root and returns the payload.
func (w *adbWriter) finish(root adbValue) []byte {
	binary.LittleEndian.PutUint32(w.b[4:], uint32(root))
	return w.b
}

// appendBlock appends one block of a file, padded to eight.
func appendBlock(b []byte, kind uint32, data ...[]byte) []byte {
	n := 4
	for _, d := range data {
		n += len(d)
	}
	b = binary.LittleEndian.AppendUint32(b, kind<<30|uint32(n))
	for _, d := range data {
		b = append(b, d...)
	}
	return append(b, make([]byte, -n&7)...)
}

// nextBlock splits the first block off b.
func nextBlock(b []byte) (kind uint32, data, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, nil, fmt.Errorf("block header: %d octets left", len(b))
	}
	word := binary.LittleEndian.Uint32(b)
	n := int(word & (1<<30 - 1))
	padded := n + -n&7
	if n < 4 || padded > len(b) {
		return 0, nil, nil, fmt.Errorf("block of %d octets: %d are left", n, len(b))
	}
	return word >> 30, b[4:n], b[padded:], nil
}

// errADB: a value points outside or has the wrong type.
var errADB = errors.New("malformed database")

// adbReader reads the payload of a database. What isn't there reads as null; an impossible place sets err.
type adbReader struct {
	b   []byte
	err error
}

func (r *adbReader) root() adbValue { return adbValue(r.word(4)) }

func (r *adbReader) at(at, n int) []byte {
	if at < 0 || n < 0 || at+n > len(r.b) {
		r.err = errADB
		return make([]byte, min(max(n, 8), 8))
	}
	return r.b[at : at+n]
}

func (r *adbReader) word(at int) uint32 { return binary.LittleEndian.Uint32(r.at(at, 4)) }

// field reads slot i (from 1) of an object or array.
func (r *adbReader) field(v adbValue, i int) adbValue {
	if i < 1 || i > r.len(v) {
		return adbNull
	}
	return adbValue(r.word(int(v&^adbMask) + 4*i))
}

// len counts the slots of an object or array.
func (r *adbReader) len(v adbValue) int {
	if k := v & adbMask; k != adbObject && k != adbArray {
		return 0
	}
	n := int(r.word(int(v&^adbMask))) - 1
	if n < 0 || int(v&^adbMask)+4*(n+1) > len(r.b) {
		r.err = errADB
		return 0
	}
	return n
}

func (r *adbReader) blob(v adbValue) []byte {
	at := int(v &^ adbMask)
	switch v & adbMask {
	case adbBlob8:
		return bytes.Clone(r.at(at+1, int(r.at(at, 1)[0])))
	case adbBlob16:
		return bytes.Clone(r.at(at+2, int(binary.LittleEndian.Uint16(r.at(at, 2)))))
	case adbBlob32:
		return bytes.Clone(r.at(at+4, int(r.word(at))))
	}
	return nil
}

func (r *adbReader) text(v adbValue) string { return string(r.blob(v)) }

func (r *adbReader) number(v adbValue) uint64 {
	at := int(v &^ adbMask)
	switch v & adbMask {
	case adbInt:
		return uint64(at)
	case adbInt32:
		return uint64(r.word(at))
	case adbInt64:
		return binary.LittleEndian.Uint64(r.at(at, 8))
	}
	return 0
}
