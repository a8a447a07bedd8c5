/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require rpc';

/* The ubus object of the daemon; docs/OPENWRT.md lists its fields. Without a daemon every call that reads answers {}. */

var callStatus = rpc.declare({ object: 'spillway', method: 'status', expect: { '': {} } });
var callFlows = rpc.declare({ object: 'spillway', method: 'flows', params: [ 'offset', 'limit' ], expect: { '': {} } });
var callWhy = rpc.declare({ object: 'spillway', method: 'why', expect: { '': {} } });
var callDoctor = rpc.declare({ object: 'spillway', method: 'doctor', expect: { '': {} }, reject: true, nobatch: true });
var callSet = rpc.declare({ object: 'spillway', method: 'set', params: [ 'link', 'role' ], expect: { '': {} }, reject: true });

/* Each thing that is silent is waited for 3 s, so that an examination may take longer than LuCI waits for an answer, 20 s: as long as uhttpd does. */
const EXAMINATION = 60;

function status() { return L.resolveDefault(callStatus(), {}); }

return baseclass.extend({
	status: status,
	flows: function(offset, limit) { return L.resolveDefault(callFlows(offset, limit), {}); },
	why: function() { return L.resolveDefault(callWhy(), {}); },

	/* late: it goes on, but the answer will not come here. */
	doctor: function() {
		const usual = L.env.rpctimeout;
		L.env.rpctimeout = EXAMINATION; /* read as the call is made */
		const answer = callDoctor();
		L.env.rpctimeout = usual;
		return answer.catch(function() {
			return status().then(function(s) { return s.state == null ? {} : { late: true }; });
		});
	},

	/* Rejects with the reason where the daemon does not take it. */
	set: function(link, role) { return callSet(link, role); }
});
