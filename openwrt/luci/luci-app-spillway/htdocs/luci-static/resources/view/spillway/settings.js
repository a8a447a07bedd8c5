/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require view';
'require form';
'require uci';
'require tools.widgets as widgets';
'require spillway.checks as checks';

/* A flag that is unticked is written as 0: UCI would otherwise lose it, and the default come back. */
function flag(section, tab, name, title, text, standard) {
	const o = tab ? section.taboption(tab, form.Flag, name, title, text) : section.option(form.Flag, name, title, text);
	o.rmempty = false;
	o.default = standard;
	return o;
}

function choice(section, tab, name, title, text, values) {
	const o = tab ? section.taboption(tab, form.ListValue, name, title, text) : section.option(form.ListValue, name, title, text);
	values.forEach(function(v) { o.value(v[0], v[1]); });
	o.default = values[0][0];
	return o;
}

function value(section, tab, name, title, text, placeholder, check) {
	const o = tab ? section.taboption(tab, form.Value, name, title, text) : section.option(form.Value, name, title, text);
	o.placeholder = placeholder;
	o.rmempty = true;
	if (check)
		o.validate = check;
	return o;
}

function list(section, tab, name, title, text, placeholder, check) {
	const o = section.taboption(tab, form.DynamicList, name, title, text);
	o.placeholder = placeholder;
	o.modalonly = true;
	o.validate = check;
	return o;
}

/* What another field of the same section holds now, '' for nothing. */
function beside(option, id, name) {
	const v = option.section.formvalue(id, name);
	return v == null ? '' : String(v);
}

/* The sections of a type that are not switched off. */
function enabled(type) {
	return uci.sections('spillway', type).filter(function(s) { return !/^(0|off|false|no|disabled)$/i.test(s.enabled); });
}

/* The name of another section that has the same value, '' for none. */
function taken(type, id, name, text) {
	const other = enabled(type).find(function(s) { return s['.name'] != id && s[name] == text; });
	return other ? other.name || other['.name'] : '';
}

/* What the daemon misses in the whole, '' for nothing: it would not start, and tell so in the system log alone. */
function missing() {
	const links = enabled('link'), servers = enabled('concentrator');
	const bare = links.find(function(l) { return !l.interface && !l.device; });
	const nowhere = servers.find(function(c) { return !c.address && !c.learn && c.protocol != 'transparent'; });
	if (bare)
		return _('Link %s has no interface.').format(bare['.name']);
	if (!links.some(function(l) { return (l.role || 'primary') == 'primary'; }))
		return _('No link is primary: give that role to the line that is to be used first.');
	if (links.length > 8)
		return _('There are more than 8 links.');
	if (nowhere)
		return _('Concentrator %s has no address.').format(nowhere['.name']);
	return servers.length ? '' : _('There is no concentrator.');
}

function general(m) {
	const s = m.section(form.NamedSection, 'global', 'global', _('General'));
	const on = flag(s, null, 'enabled', _('Enabled'), _('Nothing in the router changes before this is ticked and saved.'), '0');
	on.parse = function(id) {
		const lacks = this.formvalue(id) == '1' ? missing() : '';
		return lacks ? Promise.reject(new TypeError(lacks)) : form.Flag.prototype.parse.call(this, id);
	};
	choice(s, null, 'log_level', _('Log level'), null, [ [ 'info', _('Changes') ], [ 'warn', _('Warnings') ], [ 'error', _('Errors') ], [ 'debug', _('Everything') ] ]);
	value(s, null, 'memory_limit', _('Memory limit'), _('For small routers; by default chosen from the memory there is. Takes effect at the next start.'), _('Automatic'), checks.isMemory);

	const l = m.section(form.NamedSection, 'lan', 'lan', _('Home network'));
	const o = l.option(widgets.DeviceSelect, 'interfaces', _('Interfaces'), _('TCP connections of hosts behind these interfaces are bonded.'));
	o.multiple = true;
	o.noaliases = true;
	o.rmempty = false;
	o.validate = checks.isDevices;
	choice(l, null, 'native_mptcp', _('Hosts that speak MPTCP'), null, [ [ 'pass', _('Leave their connections alone') ], [ 'relay', _('Relay them like all others') ] ]);
}

function links(m) {
	const s = m.section(form.GridSection, 'link', _('Links'), _('The lines to the Internet. The primary one is used first; an overflow link takes only what it cannot carry.'));
	s.addremove = true;
	s.sortable = true;
	s.nodescriptions = true;
	s.tab('line', _('Line'));
	s.tab('quota', _('Quota'));

	let o = s.taboption('line', widgets.NetworkSelect, 'interface', _('Interface'), _('The network that this line is.'));
	o.exclude = 'lan';
	o.nocreate = true;
	o.rmempty = true;
	o.validate = function(id, text) {
		if (!text)
			return beside(this, id, 'device') ? true : _('Choose an interface, or name a device.');
		const other = taken('link', id, 'interface', text);
		return other ? _('Link %s has it already.').format(other) : true;
	};
	o = value(s, 'line', 'device', _('Device'), _('Instead of an interface: a device that netifd does not manage.'), 'wwan0', function(id, text) {
		if (text && beside(this, id, 'interface'))
			return _('Only one of interface and device.');
		const other = taken('link', id, 'device', text);
		if (text && other)
			return _('Link %s has it already.').format(other);
		if (text && L.toArray(uci.get('spillway', 'lan', 'interfaces')).indexOf(text) >= 0)
			return _('This is an interface of the home network.');
		return checks.isDevice(id, text);
	});
	o.modalonly = true;
	choice(s, 'line', 'role', _('Role'), _('The primary is used first, overflow for what it cannot carry and when it fails, backup only when it fails. By its line: a mobile one is overflow, any other primary.'), [ [ '', _('By its line') ], [ 'primary', _('Primary') ], [ 'overflow', _('Overflow') ], [ 'backup', _('Backup') ], [ 'off', _('Off') ] ]);
	value(s, 'line', 'down_kbit', _('Download'), _('In kbit/s. Without it the modem is asked, or the capacity is learnt.'), _('learnt'), checks.number(0, 1e8));
	value(s, 'line', 'up_kbit', _('Upload'), _('In kbit/s.'), _('learnt'), checks.number(0, 1e8));
	choice(s, 'line', 'metered', _('Metered'), _('Whether octets cost money: then nothing is sent while the link is not used.'),
		[ [ '', _('By its role') ], [ '1', _('Yes') ], [ '0', _('No') ] ]).modalonly = true;
	value(s, 'line', 'weight', _('Weight'), _('Its share in the mode that uses all links, relative to the others.'), '1', checks.number(1, 100)).modalonly = true;

	value(s, 'quota', 'quota', _('Quota'), _('Octets in a billing month, both directions. Then the link is not used any more until the billing day.'), _('none'), checks.isSize);
	value(s, 'quota', 'quota_soft', _('Soft limit'), _('From this share of the quota on, such as 90%, it takes no overflow any more.'), _('none'), function(id, text) {
		return text && !beside(this, id, 'quota') ? _('It is a share of the quota, and there is none.') : checks.isPercent(id, text);
	}).modalonly = true;
	value(s, 'quota', 'quota_daily', _('Per day'), _('Octets in a day. Then the link takes no overflow until midnight.'), _('none'), checks.isSize).modalonly = true;
	value(s, 'quota', 'billing_day', _('Billing day'), _('The day of the month on which the quota begins anew.'), '1', checks.number(1, 31)).modalonly = true;
	value(s, 'quota', 'hours', _('Hours'), _('When it may take overflow, such as 07:00-23:00. It may always stand in for a failed link.'), _('all day'), checks.isHours).modalonly = true;
}

/* A transparent concentrator is on the path, and has no address. */
function onPath(o) {
	[ 'convert', 'socks5', 'socks4a' ].forEach(function(p) { o.depends('protocol', p); });
}

function concentrators(m) {
	const s = m.section(form.GridSection, 'concentrator', _('Concentrators'), _('The server that puts the links together again.'));
	s.addremove = true;
	s.sortable = true;
	s.nodescriptions = true;
	s.tab('server', _('Server'));

	let o = value(s, 'server', 'address', _('Address'), _('An address, a name, or a service name such as _convert._tcp.example.net.'), '198.51.100.10', function(id, text) {
		const learnt = (uci.get('spillway', id) || {}).learn; /* which has no field */
		if (!text == !learnt)
			return text ? _('Leave it empty: it is learnt by DHCP.') : _('Write the address or the name of a server.');
		return checks.isHost(id, text);
	});
	onPath(o);
	o = value(s, 'server', 'port', _('Port'), _('The one that the concentrator listens on; 5124 is usual. A service name brings its own.'), '', function(id, text) {
		return !text && beside(this, id, 'address')[0] != '_' ? _('Write a whole number from %d to %d.').format(1, 65535) : checks.number(1, 65535)(id, text);
	});
	onPath(o);
	choice(s, 'server', 'protocol', _('Protocol'), _('What the concentrator speaks. A transparent one stands in the path of all links, and has no address.'), [ [ 'convert', 'Convert (RFC 8803)' ], [ 'socks5', 'SOCKS 5' ], [ 'socks4a', 'SOCKS 4a' ], [ 'transparent', _('Transparent') ] ]);
	choice(s, 'server', 'fast_open', _('Request in the SYN'), _('Saves a round trip for each connection.'), [ [ 'auto', _('Where it works') ], [ 'always', _('Always') ], [ 'never', _('Never') ] ]).modalonly = true;
	o = value(s, 'server', 'user', _('User'), null, '', checks.text(255));
	o.depends('protocol', 'socks5');
	o.depends('protocol', 'socks4a');
	o.modalonly = true;
	o = value(s, 'server', 'password', _('Password'), null, '', checks.text(255));
	o.password = true;
	o.depends('protocol', 'socks5');
	o.modalonly = true;
	o = value(s, 'server', 'cookie', _('Cookie'), _('The word that the concentrator asks for.'), '', checks.text(255));
	o.password = true;
	o.depends('protocol', 'convert');
	o.modalonly = true;
	o = flag(s, 'server', 'pipeline', _('Send all at once'), _('Greeting, password and request without waiting for answers: saves round trips, but is not of the standard.'), '0');
	o.rmempty = true;
	o.depends('protocol', 'socks5');
	o.modalonly = true;
	value(s, 'server', 'priority', _('Priority'), _('Lower is used first.'), '0', checks.number(0, 1e6));
	value(s, 'server', 'weight', _('Weight'), _('Its share of the connections, among those of the same priority.'), '1', checks.number(1, 100)).modalonly = true;
}

function policy(m) {
	const s = m.section(form.NamedSection, 'policy', 'policy', _('Policy'));
	s.tab('main', _('Policy'));
	s.tab('fine', _('Advanced'));
	choice(s, 'main', 'mode', _('Mode'), null, [
		[ 'overflow', _('Primary first, overflow for what it cannot carry') ],
		[ 'backup', _('Primary, the others only if it fails') ],
		[ 'bond', _('All links at once') ],
		[ 'smallest-delay', _('The link with the shortest round trip first') ],
		[ 'primary-only', _('Primary, the others never') ]
	]);
	choice(s, 'main', 'on_concentrator_down', _('Without a concentrator'), _('What happens to connections when none answers.'),
		[ [ 'direct', _('Go out directly, as without Spillway') ], [ 'block', _('Refuse them') ] ]);
	choice(s, 'main', 'standby', _('Readiness of the overflow link'), _('Kept ready, it takes over some 100 ms faster, and costs about 950 octets a connection.'),
		[ [ 'off', _('Never') ], [ 'busy', _('While the primary is busy') ], [ 'on', _('Always') ] ]);
	flag(s, 'main', 'never_worse', _('Never slower than one link'), _('Stop using a link when all together turn out slower than the best one alone.'), '1');

	choice(s, 'fine', 'path_manager', _('Path manager'), _('Who makes and removes subflows. Takes effect at the next start.'),
		[ [ 'auto', _('Automatic') ], [ 'kernel', _('The kernel, for all connections alike') ], [ 'user', _('Spillway, for each connection (Linux 6.12)') ] ]);
	value(s, 'fine', 'overflow_enter', _('Overflow begins at'), _('Share of the primary capacity.'), '0.95', checks.isShare);
	value(s, 'fine', 'overflow_enter_for', _('… held for'), null, '400ms', checks.duration('50ms', '1h'));
	value(s, 'fine', 'overflow_leave', _('Overflow ends at'), _('Share of the primary capacity.'), '0.85', function(id, text) {
		const enter = beside(this, id, 'overflow_enter') || '0.95';
		return checks.share(text || '0.85') < checks.share(enter) ? checks.isShare(id, text) : _('It has to be less than where overflow begins.');
	});
	value(s, 'fine', 'overflow_leave_for', _('… held for'), null, '2s', checks.duration('100ms', '1h'));
	value(s, 'fine', 'hold_up', _('A link that returns waits'), _('So long it has to be well before it is used again.'), '10s', checks.duration('100ms', '1h'));
}

function relay(m) {
	const s = m.section(form.NamedSection, 'relay', 'relay', _('Connections'));
	value(s, null, 'max_sessions', _('At once'), _('More go out directly. 0: by the memory there is.'), '0', checks.number(0, 1048576));
	value(s, null, 'max_per_host', _('At once per host'), _('0: half of all.'), '0', checks.number(0, 1048576));
	value(s, null, 'idle_timeout', _('Idle timeout'), _('Never under 2h4m.'), '2h4m', checks.duration('2h4m', '720h'));
	choice(s, null, 'dscp', 'DSCP', _('The mark by which hosts ask for precedence.'), [ [ 'keep', _('Keep') ], [ 'clear', _('Clear') ] ]);
	choice(s, null, 'native_servers', _('Servers that speak MPTCP'), null, [ [ 'keep', _('By the concentrator') ], [ 'bypass', _('Directly, once that is known') ] ]);
	choice(s, null, 'race', _('Race the links'), _('Start the handshake on two links at once.'), [ [ 'off', _('Never') ], [ 'auto', _('When the first is slow') ], [ 'always', _('Always') ] ]);
	flag(s, null, 'faithful', _('Faithful failures'), _('Accept a connection only when its server has: a refused port then looks refused. Costs a round trip each, and needs kmod-nft-queue.'), '0');
}

const conditions = [ 'src', 'mac', 'dst', 'domain', 'dst_port', 'dscp', 'interface', 'days', 'from' ];

/* Rules' names as their sets in nft have them: two must not become one. */
function same(name) {
	return name.replace(/[.-]/g, '_');
}

/* From and to, which belong together. */
function endOf(other) {
	return function(id, text) {
		const end = beside(this, id, other);
		if (!text && end)
			return _('From and to belong together.');
		return checks.clock(text) == checks.clock(end) ? _('From and to are the same.') : checks.isClock(id, text);
	};
}

function rules(m) {
	const s = m.section(form.GridSection, 'rule', _('Rules'), _('Which way some traffic goes; the first that matches wins. An empty field matches everything.'));
	s.addremove = true;
	s.sortable = true;
	s.anonymous = true;
	s.nodescriptions = true;
	s.tab('match', _('Match'));
	s.tab('when', _('When'));

	const name = value(s, 'match', 'name', _('Name'), null, 'voip', function(id, text) {
		const self = this, off = beside(this, id, 'enabled') == '0';
		if (!off && enabled('rule').some(function(r) { return r['.name'] != id && same(r.name || r['.name']) == same(text || ''); }))
			return _('Another rule has this name.');
		if (!off && !conditions.some(function(c) { return beside(self, id, c); }))
			return _('A rule needs a condition; for all traffic, write the destinations 0.0.0.0/0 and ::/0.');
		return checks.isRule(id, text);
	});
	name.rmempty = false;
	name.cfgvalue = function(section) { /* a section written by hand may have its name in its head */
		return uci.get('spillway', section, 'name') || (uci.get('spillway', section, '.anonymous') ? null : section);
	};
	choice(s, 'match', 'action', _('Action'), null, [
		[ 'bypass', _('Go out directly') ], [ 'primary', _('Primary link only') ], [ 'bond', _('All links at once') ],
		[ 'no-lte', _('Never on metered links') ], [ 'block', _('Refuse') ]
	]);
	flag(s, 'match', 'enabled', _('Enabled'), null, '1').editable = true;
	list(s, 'match', 'src', _('Source'), _('Hosts or networks at home.'), '192.168.1.20', checks.isPrefix);
	list(s, 'match', 'mac', _('Hardware address'), _('Of hosts at home.'), '00:11:22:33:44:55', checks.isMAC);
	list(s, 'match', 'dst', _('Destination'), _('Addresses or networks.'), '192.0.2.0/24', checks.isPrefix);
	list(s, 'match', 'domain', _('Names'), _('Of servers. A name such as *.example.net also needs a line in dnsmasq, which the system log shows.'), '*.example.net', checks.isDomain);
	list(s, 'match', 'dst_port', _('Ports'), _('Of servers.'), '5060-5061', checks.isPorts);
	list(s, 'match', 'dscp', 'DSCP', _('The mark by which hosts ask for precedence.'), '46', checks.number(0, 63));
	list(s, 'match', 'interface', _('Interfaces'), _('Of the home network.'), 'br-guest', checks.isDevice);

	const o = s.taboption('when', form.MultiValue, 'days', _('Days'));
	[ [ 'mon', _('Monday') ], [ 'tue', _('Tuesday') ], [ 'wed', _('Wednesday') ], [ 'thu', _('Thursday') ], [ 'fri', _('Friday') ], [ 'sat', _('Saturday') ], [ 'sun', _('Sunday') ] ]
		.forEach(function(d) { o.value(d[0], d[1]); });
	o.modalonly = true;
	value(s, 'when', 'from', _('From'), null, '08:00', endOf('to')).modalonly = true;
	value(s, 'when', 'to', _('To'), null, '17:00', endOf('from')).modalonly = true;
}

return view.extend({
	render: function() {
		const m = new form.Map('spillway', _('Spillway: settings'),
			_('Bonds a fixed and a mobile line. Changes apply at once; connections go on.'));
		general(m);
		links(m);
		concentrators(m);
		policy(m);
		rules(m);
		relay(m);
		return m.render();
	}
});
