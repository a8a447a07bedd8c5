/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';

/* What the fields of the settings may hold: what the daemon's parser takes (config/check.go, config/values.go), against which a test in
   testbed/luci holds each. Each is for an option's validate: true, or what to write instead. An empty field is the default. */

function check(good, hint) {
	return function(section, text) {
		return text == null || text === '' || good(String(text)) ? true : hint;
	};
}

function octets(text) {
	return new TextEncoder().encode(text).length;
}

/* The four numbers of an IPv4 address, or null. */
function ipv4(text) {
	const parts = text.split('.');
	return parts.length == 4 && parts.every(function(p) { return /^(0|[1-9][0-9]{0,2})$/.test(p) && +p < 256; }) ? parts.map(Number) : null;
}

/* The groups of an IPv6 address, as they are written, or null. */
function ipv6(text) {
	const halves = text.split('::');
	const groups = halves.flatMap(function(h) { return h === '' ? [] : h.split(':'); });
	const whole = halves.length == 1 ? groups.length == 8 : halves.length == 2 && groups.length < 8;
	return whole && groups.every(function(g) { return /^[0-9a-f]{1,4}$/i.test(g); }) ? groups : null;
}

function isPrefix(text) {
	const m = /^([^\/]+)(\/(0|[1-9][0-9]{0,2}))?$/.exec(text);
	return m != null && (ipv4(m[1]) != null && +(m[3] || 0) <= 32 || ipv6(m[1]) != null && +(m[3] || 0) <= 128);
}

function isDomain(text) {
	const name = text.replace(/\.$/, '');
	return name.length <= 253 && name.replace(/^\*\./, '').split('.').every(function(label) { return /^[A-Za-z0-9_-]{1,63}$/.test(label); });
}

/* An address of a server, a host's name, or a service's. */
function isHost(text) {
	const four = ipv4(text), six = ipv6(text);
	if (four != null)
		return text != '0.0.0.0' && (four[0] < 224 || four[0] > 239);
	if (six != null)
		return six.some(function(g) { return parseInt(g, 16) != 0; }) && !/^ff..:/i.test(text);
	return isDomain(text) && text[0] != '*' && !/^[0-9.]+$/.test(text);
}

/* Minutes since midnight, NaN for what is no time of day. */
function clock(text) {
	const m = /^([0-9]{1,2}):([0-5][0-9])$/.exec((text || '').trim());
	const minutes = m ? 60 * m[1] + +m[2] : NaN;
	return minutes <= 24 * 60 ? minutes : NaN;
}

function isWindow(text) {
	const ends = text.split('-').map(clock);
	return ends.length == 2 && ends[0] >= 0 && ends[1] >= 0 && ends[0] != ends[1];
}

/* In milliseconds, NaN for what is no duration. A bare number is seconds. */
function duration(text) {
	const units = { ms: 1, s: 1e3, m: 6e4, h: 36e5 };
	if (/^[0-9]+$/.test(text))
		return 1e3 * text;
	if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text))
		return NaN;
	return text.match(/[0-9.]+[a-z]+/g).reduce(function(sum, part) { return sum + parseFloat(part) * units[part.replace(/[0-9.]/g, '')]; }, 0);
}

/* A share as a number, from 0.9 or 90%; NaN for what is none. */
function share(text) {
	const m = /^([0-9]*\.?[0-9]+)(%?)$/.exec(text);
	return m ? m[1] / (m[2] ? 100 : 1) : NaN;
}

function isSize(text) {
	const m = /^([0-9]+(\.[0-9]+)?) ?(([KMGTkmgt])i?)?[Bb]?$/.exec(text);
	if (m == null || m[3] && !/b$/i.test(text))
		return false;
	const octets = m[1] * Math.pow(1024, ' KMGT'.indexOf((m[4] || ' ').toUpperCase()));
	return octets >= 1 && octets < 9e18; // 0 might mean none or any number of them
}

function isPorts(text) {
	const m = /^([0-9]{1,5})(-([0-9]{1,5}))?$/.exec(text);
	return m != null && +m[1] > 0 && +m[1] <= +(m[3] || m[1]) && +(m[3] || m[1]) < 65536;
}

/* As the kernel names devices. */
function isDevice(text) {
	return /^[!-~]{1,15}$/.test(text) && !/[\/:"\\*]/.test(text) && !/^\.\.?$/.test(text);
}

/* Names of the nft table's own counters can't be rules'. */
function isRule(text) {
	return /^[A-Za-z0-9_.-]{1,32}$/.test(text) && [ 'relayed', 'native', 'refused', 'concentrator' ].indexOf(text) < 0;
}

return baseclass.extend({
	share: share,
	clock: clock,

	number: function(low, high) {
		return check(function(text) { return /^[0-9]{1,15}$/.test(text) && +text >= low && +text <= high; }, _('Write a whole number from %d to %d.').format(low, high));
	},

	duration: function(low, high) {
		return check(function(text) { return duration(text) >= duration(low) && duration(text) <= duration(high); },
			_('Write a duration from %s to %s, such as 500ms, 10s or 2h4m.').format(low, high));
	},

	/* Of so many octets at most. */
	text: function(most) {
		return check(function(text) { return octets(text) <= most; }, _('Write %d octets at most.').format(most));
	},

	isSize: check(isSize, _('Write a size such as 50GB or 500MB.')),
	isPercent: check(function(text) { return /%$/.test(text) && share(text) > 0 && share(text) <= 1; }, _('Write a percentage such as 90%.')),
	isShare: check(function(text) { return share(text) > 0 && share(text) <= 1; }, _('Write a share such as 0.9 or 90%.')),
	isHours: check(function(text) { return text.split(',').every(isWindow); }, _('Write windows such as 07:00-23:00, joined by commas.')),
	isClock: check(function(text) { return clock(text) >= 0; }, _('Write a time of day such as 07:30.')),
	isPorts: check(isPorts, _('Write a port or a range such as 5060-5061.')),
	isDomain: check(isDomain, _('Write a name such as www.example.net or *.example.net.')),
	isHost: check(isHost, _('Write the address or the name of a server.')),
	isPrefix: check(isPrefix, _('Write an address or a network such as 192.0.2.0/24.')),
	isMAC: check(function(text) { return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text); }, _('Write a hardware address such as 00:11:22:33:44:55.')),
	isDevice: check(isDevice, _('Write the name of a device such as eth1.')),
	isDevices: check(function(text) { return text.split(' ').every(isDevice); }, _('Write the name of a device such as eth1.')), /* those of one field */
	isRule: check(isRule, _('Write up to 32 letters, digits, dots, hyphens and underscores.')),
	isMemory: check(function(text) { return /^(off|[0-9]{1,10}(B|KiB|MiB|GiB)?)$/.test(text) && !(parseInt(text, 10) > 0xffffffff); }, _('Write a limit such as 24MiB.'))
});
