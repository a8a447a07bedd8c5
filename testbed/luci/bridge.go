// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"time"

	"spillway/ubus"
)

// What LuCI's own access rules allow every page.
var baseRules = map[string][]string{"network.interface": {"dump"}}

// loadRules reads an acl.d file: the calls that its read and write parts grant. UCI's rights become calls of `uci`.
func loadRules(path string) (map[string]map[string][]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	rules := map[string]map[string][]string{"read": {}, "write": {}}
	for _, group := range file {
		for part, calls := range rules {
			var grant struct {
				Ubus map[string][]string
				UCI  []string
			}
			if err := json.Unmarshal(group[part], &grant); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, part, err)
			}
			for object, methods := range grant.Ubus {
				calls[object] = append(calls[object], methods...)
			}
			if len(grant.UCI) > 0 {
				calls["uci"] = map[string][]string{"read": {"get", "changes"}, "write": {"set", "add", "delete", "order", "apply"}}[part]
			}
		}
	}
	return rules, nil
}

// allowed tells whether a session may make a call: "admin" has read and write, "viewer" read only.
func (s *Server) allowed(session, object, method string) bool {
	if session != "admin" && session != "viewer" {
		return false
	}
	return slices.Contains(baseRules[object], method) || slices.Contains(s.rules["read"][object], method) ||
		session == "admin" && slices.Contains(s.rules["write"][object], method)
}

// rpc serves one call of JSON-RPC as uhttpd's ubus handler does.
func (s *Server) rpc(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	request, errParse := ubus.FromJSON(body)
	if err != nil || errParse != nil {
		answer(w, ubus.Msg{{Name: "jsonrpc", Value: "2.0"}, {Name: "id", Value: nil}, {Name: "error", Value: rpcError(-32700, "Parse error")}})
		return
	}
	result := ubus.Msg{{Name: "jsonrpc", Value: "2.0"}, {Name: "id", Value: request.Get("id")}}
	answer(w, append(result, s.call(r.Context(), request.List("params"))))
}

func rpcError(code int, text string) ubus.Msg {
	return ubus.Msg{{Name: "code", Value: code}, {Name: "message", Value: text}}
}

func answer(w http.ResponseWriter, m ubus.Msg) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(m.JSON())
}

// call makes the call [session, object, method, args] on the bus; the result is [status, data].
func (s *Server) call(ctx context.Context, params []any) ubus.Field {
	if len(params) != 4 {
		return ubus.Field{Name: "error", Value: rpcError(-32602, "Invalid params")}
	}
	session, _ := params[0].(string)
	object, _ := params[1].(string)
	method, _ := params[2].(string)
	args, ok := params[3].(ubus.Msg)
	if !ok || !s.allowed(session, object, method) {
		return ubus.Field{Name: "error", Value: rpcError(-32002, "Access denied")}
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	args = append(narrow(args).(ubus.Msg), ubus.Field{Name: "ubus_rpc_session", Value: session})
	data, err := s.bus.Call(ctx, object, method, args)
	if err != nil {
		status := ubus.UnknownError
		errors.As(err, &status)
		return ubus.Field{Name: "result", Value: []any{int(status)}}
	}
	return ubus.Field{Name: "result", Value: []any{0, data}}
}

// narrow makes of integers what rpcd makes of JSON's: INT32 where they fit.
func narrow(v any) any {
	switch v := v.(type) {
	case int64:
		if v >= math.MinInt32 && v <= math.MaxInt32 {
			return int32(v)
		}
	case ubus.Msg:
		for i := range v {
			v[i].Value = narrow(v[i].Value)
		}
	case []any:
		for i := range v {
			v[i] = narrow(v[i])
		}
	}
	return v
}
