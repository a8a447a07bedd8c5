// SPDX-License-Identifier: Apache-2.0

package bench

import "fmt"

// HAProxy comes in two. Alone it goes to one server, whatever the client has asked for, and what stands there forwards to one place: the
// least that a relay over MPTCP can do, and a limit to those that do more. A router needs the pair: the near one says by the PROXY protocol
// where the client wanted to go, and the far one goes there.

const haproxyHead = `global
  maxconn %d
  maxpipes 500
  nbthread 1
%sdefaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  option splice-auto
`

// haproxyNear is the configuration on the router, for so many connections, to a port of the far end.
func haproxyNear(most, port int, says bool) string {
	how := ""
	if says {
		how = " send-proxy-v2"
	}
	return fmt.Sprintf(haproxyHead+`frontend lan
  bind 0.0.0.0:%d transparent
  default_backend hag
backend hag
  server hag %s:%d%s
`, most, "", relayPort, hagAddr, port, how)
}

// haproxyFar is the configuration at the far end, which listens at an address. A server of no address and no port is where the
// client's connection went to, and the header has said where that was. Its buffers are of 128 KiB, as those of the forwarder: with its own
// of 16 KiB it moved a quarter of what it does, 440 instead of 1,300 Mbit/s unpaced.
func haproxyFar(most int, listen string) string {
	return fmt.Sprintf(haproxyHead+`frontend cpe
  bind %s accept-proxy
  default_backend internet
backend internet
  server asked 0.0.0.0
`, most, "  tune.bufsize 131072\n", listen)
}

// haproxy is the command that runs one with a configuration.
func (s *Stage) haproxy(name, text string) ([]string, error) {
	file, err := s.write(name+".cfg", text)
	return []string{"mptcpize", "run", s.bin.find("haproxy"), "-db", "-f", file}, err
}
