/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require view';
'require form';
'require uci';
'require tools.widgets as widgets';

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
	if (typeof check == 'string')
		o.datatype = check;
	else if (check)
		o.validate = check;
	return o;
}

function list(section, tab, name, title, text, placeholder, datatype) {
	const o = section.taboption(tab, form.DynamicList, name, title, text);
	o.placeholder = placeholder;
	o.modalonly = true;
	if (datatype)
		o.datatype = datatype;
	return o;
}

/* Checks of fields that LuCI has no datatype for. An empty field is the default. */
function matches(pattern, hint) {
	return function(section, text) {
		return text == null || text === '' || pattern.test(text) ? true : hint;
	};
}

const isSize = matches(/^(?=.*[1-9])[0-9]+(\.[0-9]+)?( ?[KMGT]i?B)?$/i, _('Write a size such as 50GB or 500MB.'));
const isPercent = matches(/^([1-9][0-9]?|100)(\.[0-9]+)?%$/, _('Write a percentage such as 90%.'));
const isShare = matches(/^(0?\.[0-9]+|1(\.0+)?|[1-9][0-9]?%|100%)$/, _('Write a share such as 0.9 or 90%.'));
const isDuration = matches(/^([0-9]+|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$/, _('Write a duration such as 500ms, 10s or 2h4m.'));
const isHours = matches(/^([0-2]?[0-9]:[0-5][0-9]-[0-2]?[0-9]:[0-5][0-9])(, ?[0-2]?[0-9]:[0-5][0-9]-[0-2]?[0-9]:[0-5][0-9])*$/, _('Write windows such as 07:00-23:00, joined by commas.'));
const isClock = matches(/^[0-2]?[0-9]:[0-5][0-9]$/, _('Write a time of day such as 07:30.'));
const isPorts = matches(/^[0-9]{1,5}(-[0-9]{1,5})?$/, _('Write a port or a range such as 5060-5061.'));
const isDomain = matches(/^(\*\.)?([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+\.?$/, _('Write a name such as www.example.net or *.example.net.'));

function general(m) {
	const s = m.section(form.NamedSection, 'global', 'global', _('General'));
	flag(s, null, 'enabled', _('Enabled'), _('Nothing in the router changes before this is ticked and saved.'), '0');
	choice(s, null, 'log_level', _('Log level'), null, [ [ 'info', _('Changes') ], [ 'warn', _('Warnings') ], [ 'error', _('Errors') ], [ 'debug', _('Everything') ] ]);
	value(s, null, 'memory_limit', _('Memory limit'), _('For small routers; by default chosen from the memory there is.'), '24MiB',
		matches(/^(off|[0-9]+(B|KiB|MiB|GiB)?)$/, _('Write a limit such as 24MiB.')));

	const l = m.section(form.NamedSection, 'lan', 'lan', _('Home network'));
	const o = l.option(widgets.DeviceSelect, 'interfaces', _('Interfaces'), _('TCP connections of hosts behind these interfaces are bonded.'));
	o.multiple = true;
	o.noaliases = true;
	o.rmempty = false;
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
	o = value(s, 'line', 'device', _('Device'), _('Instead of an interface: a device that netifd does not manage.'), 'wwan0');
	o.modalonly = true;
	choice(s, 'line', 'role', _('Role'), null, [ [ 'primary', _('Primary') ], [ 'overflow', _('Overflow') ], [ 'backup', _('Backup') ], [ 'off', _('Off') ] ]);
	value(s, 'line', 'down_kbit', _('Download'), _('In kbit/s. Without it the modem is asked, or the capacity is learnt.'), _('learnt'), 'uinteger');
	value(s, 'line', 'up_kbit', _('Upload'), _('In kbit/s.'), _('learnt'), 'uinteger');
	choice(s, 'line', 'metered', _('Metered'), _('Whether octets cost money: then nothing is sent while the link is not used.'),
		[ [ '', _('By its role') ], [ '1', _('Yes') ], [ '0', _('No') ] ]).modalonly = true;
	value(s, 'line', 'weight', _('Weight'), _('Its share in the mode that uses all links, relative to the others.'), '1', 'range(1,100)').modalonly = true;

	value(s, 'quota', 'quota', _('Quota'), _('Octets in a billing month, both directions. Then the link is not used any more until the billing day.'), _('none'), isSize);
	value(s, 'quota', 'quota_soft', _('Soft limit'), _('From this share of the quota on it takes no overflow any more.'), '90%', isPercent).modalonly = true;
	value(s, 'quota', 'quota_daily', _('Per day'), null, _('none'), isSize).modalonly = true;
	value(s, 'quota', 'billing_day', _('Billing day'), _('The day of the month on which the quota begins anew.'), '1', 'range(1,31)').modalonly = true;
	value(s, 'quota', 'hours', _('Hours'), _('When it may take overflow. It may always stand in for a failed link.'), '07:00-23:00', isHours).modalonly = true;
}

function concentrators(m) {
	const s = m.section(form.GridSection, 'concentrator', _('Concentrators'), _('The server that puts the links together again.'));
	s.addremove = true;
	s.sortable = true;
	s.nodescriptions = true;
	s.tab('server', _('Server'));

	let o = value(s, 'server', 'address', _('Address'), _('An address, a name, or a service name such as _convert._tcp.example.net.'), '198.51.100.10');
	o.rmempty = false;
	value(s, 'server', 'port', _('Port'), null, '5124', 'port');
	choice(s, 'server', 'protocol', _('Protocol'), null, [ [ 'convert', 'Convert (RFC 8803)' ], [ 'socks5', 'SOCKS 5' ], [ 'socks4a', 'SOCKS 4a' ], [ 'transparent', _('Transparent') ] ]);
	choice(s, 'server', 'fast_open', _('Request in the SYN'), null, [ [ 'auto', _('Where it works') ], [ 'always', _('Always') ], [ 'never', _('Never') ] ]).modalonly = true;
	o = value(s, 'server', 'user', _('User'), null, '');
	o.depends('protocol', 'socks5');
	o.depends('protocol', 'socks4a');
	o.modalonly = true;
	o = value(s, 'server', 'password', _('Password'), null, '');
	o.password = true;
	o.depends('protocol', 'socks5');
	o.modalonly = true;
	o = value(s, 'server', 'cookie', _('Cookie'), _('The word that the concentrator asks for.'), '');
	o.password = true;
	o.depends('protocol', 'convert');
	o.modalonly = true;
	value(s, 'server', 'priority', _('Priority'), _('Lower is used first.'), '0', 'uinteger');
	value(s, 'server', 'weight', _('Weight'), null, '1', 'range(1,100)').modalonly = true;
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
	value(s, 'fine', 'overflow_enter', _('Overflow begins at'), _('Share of the primary capacity.'), '0.95', isShare);
	value(s, 'fine', 'overflow_enter_for', _('… held for'), null, '400ms', isDuration);
	value(s, 'fine', 'overflow_leave', _('Overflow ends at'), _('Share of the primary capacity.'), '0.85', isShare);
	value(s, 'fine', 'overflow_leave_for', _('… held for'), null, '2s', isDuration);
	value(s, 'fine', 'hold_up', _('A link that returns waits'), null, '10s', isDuration);
}

function relay(m) {
	const s = m.section(form.NamedSection, 'relay', 'relay', _('Connections'));
	value(s, null, 'max_sessions', _('At once'), _('More go out directly. 0: by the memory there is.'), '0', 'uinteger');
	value(s, null, 'max_per_host', _('At once per host'), _('0: half of all.'), '0', 'uinteger');
	value(s, null, 'idle_timeout', _('Idle timeout'), _('Never under 2h4m.'), '2h4m', isDuration);
	choice(s, null, 'dscp', 'DSCP', null, [ [ 'keep', _('Keep') ], [ 'clear', _('Clear') ] ]);
	choice(s, null, 'native_servers', _('Servers that speak MPTCP'), null, [ [ 'keep', _('By the concentrator') ], [ 'bypass', _('Directly, once that is known') ] ]);
	choice(s, null, 'race', _('Race the links'), _('Start the handshake on two links at once.'), [ [ 'off', _('Never') ], [ 'auto', _('When the first is slow') ], [ 'always', _('Always') ] ]);
	flag(s, null, 'faithful', _('Faithful failures'), _('Accept a connection only when its server has: a refused port then looks refused. Costs a round trip each, and needs kmod-nft-queue.'), '0');
}

function rules(m) {
	const s = m.section(form.GridSection, 'rule', _('Rules'), _('Which way some traffic goes; the first that matches wins. An empty field matches everything.'));
	s.addremove = true;
	s.sortable = true;
	s.anonymous = true;
	s.nodescriptions = true;
	s.tab('match', _('Match'));
	s.tab('when', _('When'));

	const name = value(s, 'match', 'name', _('Name'), null, 'voip');
	name.rmempty = false;
	name.cfgvalue = function(section) { /* a section written by hand may have its name in its head */
		return uci.get('spillway', section, 'name') || (uci.get('spillway', section, '.anonymous') ? null : section);
	};
	choice(s, 'match', 'action', _('Action'), null, [
		[ 'bypass', _('Go out directly') ], [ 'primary', _('Primary link only') ], [ 'bond', _('All links at once') ],
		[ 'no-lte', _('Never on metered links') ], [ 'block', _('Refuse') ]
	]);
	flag(s, 'match', 'enabled', _('Enabled'), null, '1').editable = true;
	list(s, 'match', 'src', _('Source'), _('Hosts or networks at home.'), '192.168.1.20', 'or(cidr,ipaddr)');
	list(s, 'match', 'mac', _('Hardware address'), null, '00:11:22:33:44:55', 'macaddr');
	list(s, 'match', 'dst', _('Destination'), _('Addresses or networks.'), '192.0.2.0/24', 'or(cidr,ipaddr)');
	list(s, 'match', 'domain', _('Names'), null, '*.example.net').validate = isDomain;
	list(s, 'match', 'dst_port', _('Ports'), null, '5060-5061').validate = isPorts;
	list(s, 'match', 'dscp', 'DSCP', null, '46', 'range(0,63)');
	list(s, 'match', 'interface', _('Interfaces'), _('Of the home network.'), 'br-guest');

	const o = s.taboption('when', form.MultiValue, 'days', _('Days'));
	[ [ 'mon', _('Monday') ], [ 'tue', _('Tuesday') ], [ 'wed', _('Wednesday') ], [ 'thu', _('Thursday') ], [ 'fri', _('Friday') ], [ 'sat', _('Saturday') ], [ 'sun', _('Sunday') ] ]
		.forEach(function(d) { o.value(d[0], d[1]); });
	o.modalonly = true;
	value(s, 'when', 'from', _('From'), null, '08:00', isClock).modalonly = true;
	value(s, 'when', 'to', _('To'), null, '17:00', isClock).modalonly = true;
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
