/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require spillway.draw as draw';
'require spillway.words as words';

/* A link's last minutes: download as an area, upload as a line, capacity as a dashed line, times of overflow shaded. */

const svg = draw.svg;
const WIDTH = 320, HEIGHT = 96, SPAN = 300;

/* The samples live in the browser's tab, so that they are still there after a look at another page. */
const STORE = 'spillway-history';

function load() {
	try {
		return JSON.parse(window.sessionStorage.getItem(STORE)) || {};
	}
	catch (e) {
		return {};
	}
}

function save(history) {
	try {
		window.sessionStorage.setItem(STORE, JSON.stringify(history));
	}
	catch (e) { /* a browser that keeps nothing still draws what this page has seen */ }
}

function points(samples, now, key, full) {
	return samples.map(function(p) {
		return [ WIDTH * (1 - (now - p.t) / SPAN), HEIGHT * (1 - Math.min(1, p[key] / full)) ];
	});
}

function line(at) {
	return at.map(function(p, i) { return (i ? 'L' : 'M') + p[0].toFixed(1) + ' ' + p[1].toFixed(1); }).join(' ');
}

/* Intervals [from, to] of seconds ago during which overflow was on. */
function spans(samples, now) {
	const out = [];
	let from = null;
	samples.forEach(function(p, i) {
		if (p.o && from === null)
			from = p.t;
		if (from !== null && (!p.o || i == samples.length - 1)) {
			out.push([ now - from, now - p.t ]);
			from = null;
		}
	});
	return out;
}

return baseclass.extend({
	/* The history of all links: add(status) takes a sample of each. */
	history: function() {
		const all = load();
		return {
			add: function(s) {
				const t = Date.now() / 1000;
				(s.links || []).forEach(function(l) {
					const list = (all[l.name] || []).filter(function(p) { return p.t > t - SPAN - 5 && p.t <= t; });
					list.push({ t: t, d: Math.round(l.down_bps || 0), u: Math.round(l.up_bps || 0), o: s.overflow_down || s.overflow_up ? 1 : 0 });
					all[l.name] = list;
				});
				save(all);
			},
			of: function(name) { return all[name] || []; }
		};
	},

	create: function(colour) {
		const shade = svg('g', { 'class': 'sw-shade' });
		const area = svg('path', { 'class': 'sw-area', fill: colour });
		const down = svg('path', { 'class': 'sw-line', stroke: colour });
		const up = svg('path', { 'class': 'sw-line sw-line-up', stroke: colour });
		const cap = svg('line', { 'class': 'sw-cap', x1: 0, x2: WIDTH });
		const grid = svg('g', { 'class': 'sw-grid' }, [ 0.25, 0.5, 0.75 ].map(function(f) {
			return svg('line', { x1: 0, x2: WIDTH, y1: HEIGHT * f, y2: HEIGHT * f });
		}));
		const scale = E('span', { 'class': 'sw-scale' });
		const root = svg('svg', { viewBox: '0 0 ' + WIDTH + ' ' + HEIGHT, preserveAspectRatio: 'none', 'class': 'sw-chart', role: 'img',
			'aria-label': _('Rates of the last five minutes') }, [ shade, grid, area, down, up, cap ]);
		const node = E('div', { 'class': 'sw-chart-box' }, [ scale, E('span', { 'class': 'sw-span' }, _('5 minutes')) ]);
		node.insertBefore(root, node.firstChild);
		return {
			node: node,
			update: function(samples, capacity) {
				const now = Date.now() / 1000;
				const top = samples.reduce(function(m, p) { return Math.max(m, p.d, p.u); }, (capacity || {}).down_bps || 0);
				const full = draw.ceiling(top * 1.05);
				const d = points(samples, now, 'd', full);
				draw.set(down, { d: line(d) });
				draw.set(up, { d: line(points(samples, now, 'u', full)) });
				draw.set(area, { d: d.length ? line(d) + ' L' + d[d.length - 1][0].toFixed(1) + ' ' + HEIGHT + ' L' + d[0][0].toFixed(1) + ' ' + HEIGHT + ' Z' : '' });
				const y = HEIGHT * (1 - ((capacity || {}).down_bps || 0) / full);
				draw.set(cap, { y1: y, y2: y, visibility: (capacity || {}).down_bps > 0 ? 'visible' : 'hidden' });
				shade.replaceChildren.apply(shade, spans(samples, now).map(function(s) {
					const x = WIDTH * (1 - s[0] / SPAN);
					return svg('rect', { x: x.toFixed(1), y: 0, height: HEIGHT, width: Math.max(1, WIDTH * (s[0] - s[1]) / SPAN).toFixed(1) });
				}));
				draw.text(scale, words.rate(full));
			}
		};
	}
});
