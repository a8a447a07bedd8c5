/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require spillway.api as api';
'require spillway.words as words';
'require spillway.draw as draw';

/* The box on the Overview page: the sentence, and a row for each link. */

function row(l, links, mode) {
	const cap = l.capacity && l.capacity.down_bps > 0 ? l.capacity.down_bps : l.down_peak_bps;
	const share = cap > 0 ? Math.min(100, 100 * l.down_bps / cap) : 0;
	return E('tr', { 'class': 'tr' }, [
		E('td', { 'class': 'td left', 'width': '33%', 'style': 'white-space:nowrap' }, [ l.name + ' (' + words.role(l.role) + ')' ]),
		E('td', { 'class': 'td left' }, [
			E('div', {}, [ words.link(l, mode) + ' · ↓ ' + words.rate(l.down_bps) + ' ↑ ' + words.rate(l.up_bps) ]),
			E('div', { 'class': 'sw-bar' }, E('i', { 'style': 'width:' + share.toFixed(1) + '%;background:' + draw.colour(links, l.name) }))
		])
	]);
}

return baseclass.extend({
	title: _('Spillway'),

	load: function() { return api.status(); },

	render: function(s) {
		if (s.state == null)
			return E('p', {}, E('em', {}, _('Spillway is not running.')));
		const links = s.links || [];
		return E('div', { 'class': 'sw' }, [
			E('link', { 'rel': 'stylesheet', 'href': L.resource('spillway/style.css') }),
			E('p', {}, [ E('b', {}, words.state(s.state)), ': ', s.why || '' ]),
			E('table', { 'class': 'table' }, links.map(function(l) { return row(l, links, s.mode); }))
		]);
	}
});
