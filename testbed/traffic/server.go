// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Serve answers on a listener until ctx ends.
func Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, most likely: others will end
			continue
		}
		go func() {
			defer c.Close()
			serve(c.(*net.TCPConn))
		}()
	}
}

// serve answers the lines of one connection.
func serve(c *net.TCPConn) error {
	begin := time.Now()
	r := bufio.NewReaderSize(c, 512)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		words := strings.Fields(string(line))
		if len(words) < 2 {
			return fmt.Errorf("line %q: not of this server's language", line)
		}
		numbers, err := parse(words[1:])
		if err != nil {
			return err
		}
		switch {
		case words[0] == "ask" && len(numbers) == 1:
			if err := send(c, 0, numbers[0], 0, time.Time{}); err != nil {
				return err
			}
		case words[0] == "keep" && len(numbers) == 3:
			if err := send(c, uint64(numbers[1]), numbers[0], float64(numbers[2]), time.Time{}); err != nil {
				return err
			}
		case words[0] == "get" && len(numbers) == 3:
			return send(c, uint64(numbers[1]), numbers[0], float64(numbers[2]), time.Time{})
		case words[0] == "put" && len(numbers) == 1:
			return take(c, r, uint64(numbers[0]), begin)
		default:
			return fmt.Errorf("line %q: not of this server's language", line)
		}
	}
}

// take receives an upload and reports on it.
func take(c *net.TCPConn, r *bufio.Reader, seed uint64, begin time.Time) error {
	held, _ := r.Peek(r.Buffered()) // then from the connection itself, in large pieces
	var rep Report
	receive(io.MultiReader(strings.NewReader(string(held)), c), seed, begin, &rep, false)
	line, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	_, err = c.Write(append(line, '\n'))
	return err
}

func parse(words []string) (numbers []int64, err error) {
	for _, w := range words {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
