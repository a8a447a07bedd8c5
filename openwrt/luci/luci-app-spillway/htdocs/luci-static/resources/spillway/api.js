/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require rpc';

/* The ubus object of the daemon; docs/OPENWRT.md lists its fields. Without a daemon every call answers {}. */

var callStatus = rpc.declare({ object: 'spillway', method: 'status', expect: { '': {} } });
var callFlows = rpc.declare({ object: 'spillway', method: 'flows', params: [ 'offset', 'limit' ], expect: { '': {} } });
var callWhy = rpc.declare({ object: 'spillway', method: 'why', expect: { '': {} } });
var callDoctor = rpc.declare({ object: 'spillway', method: 'doctor', expect: { '': {} } });
var callSet = rpc.declare({ object: 'spillway', method: 'set', params: [ 'link', 'role' ], expect: { '': {} } });

return baseclass.extend({
	status: function() { return L.resolveDefault(callStatus(), {}); },
	flows: function(offset, limit) { return L.resolveDefault(callFlows(offset, limit), {}); },
	why: function() { return L.resolveDefault(callWhy(), {}); },
	doctor: function() { return L.resolveDefault(callDoctor(), {}); },
	set: function(link, role) { return callSet(link, role); }
});
