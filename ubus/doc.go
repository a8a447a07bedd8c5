// SPDX-License-Identifier: Apache-2.0

// Package ubus speaks OpenWrt's message bus: the wire protocol of ubusd over its unix socket.
//
// A Conn is one connection: it calls other objects, publishes Objects of ours, listens to events and subscribes
// to objects. Run keeps such a connection up for as long as its context lives: after a restart of ubusd every
// object, listener and subscription is there again within a second.
//
// Values are Msg, an ordered table; a Msg has a JSON form too, so that one value answers the command line and
// the bus alike. Everything on the wire is big endian on every host and padded to four octets; blobmsg.go has
// the values, message.go the frames, conn.go the conversations. The protocol is that of libubox's blob.c and
// blobmsg.c and of ubus's ubusmsg.h.
package ubus

import "fmt"

// Socket is where ubusd of OpenWrt 21.02 and later listens.
const Socket = "/var/run/ubus/ubus.sock"

// Status is the outcome of a request, as ubus's enum ubus_msg_status numbers it. It is an error, except OK.
type Status uint32

const (
	OK               Status = 0
	InvalidCommand   Status = 1
	InvalidArgument  Status = 2
	MethodNotFound   Status = 3
	NotFound         Status = 4
	NoData           Status = 5
	PermissionDenied Status = 6
	Timeout          Status = 7
	NotSupported     Status = 8
	UnknownError     Status = 9
	ConnectionFailed Status = 10
	NoMemory         Status = 11
	ParseError       Status = 12
	SystemError      Status = 13
)

var statusTexts = [...]string{"success", "invalid command", "invalid argument", "method not found", "not found",
	"no response", "permission denied", "request timed out", "operation not supported", "unknown error",
	"connection failed", "out of memory", "parsing message data failed", "system error"}

// Error gives the words that the ubus command line uses.
func (s Status) Error() string {
	if int(s) < len(statusTexts) {
		return statusTexts[s]
	}
	return fmt.Sprintf("status %d", uint32(s))
}
