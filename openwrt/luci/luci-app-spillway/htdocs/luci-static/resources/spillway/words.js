/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';

/* Figures and states in words. Rates count in powers of 1000, as lines are sold; so do sizes, as quotas are. */

function scaled(value, units) {
	let i = 0;
	value = Number(value) || 0;
	while (value >= 999.5 && i < units.length - 1) {
		value /= 1000;
		i++;
	}
	const digits = (i > 0 && value < 9.95) ? 2 : ((i > 0 && value < 99.5) ? 1 : 0);
	return value.toFixed(digits) + ' ' + units[i];
}

function states() {
	return {
		first: _('In use'), active: _('In use, overflow'), standby: _('Ready'), draining: _('Emptying'), off: _('Not in use'),
		running: _('Running'), direct: _('Direct'), blocked: _('Blocked'), waiting: _('Waiting'), starting: _('Starting'),
		up: _('Up'), down: _('Down')
	};
}

/* The language of the page, as dates are written in it; undefined where the browser knows none such: its own. */
function locale() {
	const lang = (document.documentElement.lang || '').replace('_', '-');
	try {
		return lang && Intl.DateTimeFormat.supportedLocalesOf(lang).length ? lang : undefined;
	}
	catch (e) {
		return undefined;
	}
}

return baseclass.extend({
	rate: function(bps) {
		return bps < 1 || !bps ? '0' : scaled(bps / 1000, [ 'kbit/s', 'Mbit/s', 'Gbit/s' ]);
	},

	size: function(octets) {
		return scaled(octets, [ 'B', 'kB', 'MB', 'GB', 'TB', 'PB' ]);
	},

	ms: function(ms) {
		return ms > 0 ? ms.toFixed(ms < 10 ? 1 : 0) + ' ms' : '–';
	},

	duration: function(seconds) {
		const s = Math.max(0, Math.round(seconds || 0));
		if (s < 60)
			return s + ' s';
		if (s < 3600)
			return Math.floor(s / 60) + ' min ' + (s % 60) + ' s';
		if (s < 86400)
			return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
		return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
	},

	day: function(rfc3339) {
		const d = new Date(rfc3339);
		return isNaN(d) ? '–' : d.toLocaleDateString(locale(), { day: 'numeric', month: 'short' });
	},

	/* A moment of today by its time, another by its day as well. */
	moment: function(rfc3339) {
		const d = new Date(rfc3339);
		if (isNaN(d))
			return '–';
		const time = d.toLocaleTimeString(locale());
		return d.toDateString() == new Date().toDateString() ? time : this.day(rfc3339) + ', ' + time;
	},

	state: function(state) {
		return states()[state] || state || '–';
	},

	/* A link's state. Active is overflow only where the links have an order, and resting it carries nothing. */
	link: function(l, mode) {
		if (!l.usable)
			return _('Not usable');
		if (l.resting)
			return _('Resting');
		const equal = l.role == 'primary' || mode == 'bond';
		return this.state(l.state == 'active' && equal ? 'first' : l.state);
	},

	role: function(role) {
		return { primary: _('Primary'), overflow: _('Overflow'), backup: _('Backup'), off: _('Off') }[role] || role;
	},

	/* A connection's kind, by what it has moved. */
	kind: function(kind) {
		return { interactive: _('Interactive'), bulk: _('Bulk') }[kind] || kind || '–';
	},

	source: function(source) {
		return { configured: _('as configured'), modem: _('as the modem says'), learnt: _('as learnt'), unknown: _('not known yet') }[source] || source || '';
	}
});
