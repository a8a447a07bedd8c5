/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require spillway.draw as draw';
'require spillway.words as words';

/* The picture of the network: home, a pipe for each link, concentrator. A pipe has two lanes: the wide one fills from the
   concentrator (download), the narrow one from home (upload), each by its share of the link's capacity. */

const svg = draw.svg;
const ROW = 92, LANE_DOWN = 30, LANE_UP = 14;

function house(x, y) {
	return svg('g', { 'class': 'sw-icon', 'transform': 'translate(' + x + ',' + y + ')' }, [
		svg('path', { d: 'M-30 4 L0 -24 L30 4' }),
		svg('path', { d: 'M-22 0 V26 H22 V0' }),
		svg('path', { d: 'M-6 26 V10 H6 V26' })
	]);
}

function server(x, y) {
	const parts = [];
	for (let i = 0; i < 3; i++) {
		parts.push(svg('rect', { x: -26, y: -24 + i * 17, width: 52, height: 14, rx: 3 }));
		parts.push(svg('circle', { cx: 17, cy: -17 + i * 17, r: 2, 'class': 'sw-lamp' }));
	}
	return svg('g', { 'class': 'sw-icon', 'transform': 'translate(' + x + ',' + y + ')' }, parts);
}

function label(x, y, cls, anchor) {
	return svg('text', { x: x, y: y, 'class': cls || '', 'text-anchor': anchor || 'start' });
}

/* A lane: its bed, the water in it, and a figure. */
function lane(x, y, width, height, colour, down) {
	const bed = svg('rect', { 'class': 'sw-bed', x: x, y: y, width: width, height: height, rx: height / 2 });
	const water = svg('rect', { 'class': 'sw-water', x: x, y: y, width: width, height: height, rx: height / 2, fill: colour });
	const stripes = svg('line', { 'class': 'sw-stripes ' + (down ? 'sw-left' : 'sw-right'), x1: x + 8, x2: x + width - 8,
		y1: y + height / 2, y2: y + height / 2, 'stroke-width': height - 6 });
	const figure = label(x + 14, y + height / 2 + (down ? 5 : 4), down ? 'sw-figure' : 'sw-figure-small');
	return {
		nodes: [ bed, water, stripes, figure ],
		fill: function(share, words) {
			const w = share > 0 ? Math.max(height, width * Math.min(1, share)) : 0;
			draw.set(water, { width: w, x: down ? x + width - w : x });
			const from = Math.max(down ? x + width - w : x, x + (down ? 190 : 150)) + 8, to = (down ? x + width : x + w) - 8;
			draw.set(stripes, { x1: from, x2: to, visibility: to > from + 24 ? 'visible' : 'hidden' }); /* never over the figure */
			draw.text(figure, words);
		}
	};
}

function pipe(link, place, colour) {
	const name = label(place.x, place.y - 8, 'sw-name'), state = label(place.x + place.width, place.y - 8, 'sw-note', 'end');
	const down = lane(place.x, place.y, place.width, LANE_DOWN, colour, true);
	const up = lane(place.x, place.y + LANE_DOWN + 3, place.width, LANE_UP, colour, false);
	const joints = [];
	const middle = place.y + (LANE_DOWN + LANE_UP + 3) / 2;
	place.ends.forEach(function(end, i) {
		const from = i == 0 ? place.x : place.x + place.width, bend = (from + end.x) / 2;
		joints.push(svg('path', { 'class': 'sw-joint', stroke: colour,
			d: 'M' + from + ' ' + middle + ' C' + bend + ' ' + middle + ' ' + bend + ' ' + end.y + ' ' + end.x + ' ' + end.y }));
	});
	const group = svg('g', { 'data-link': link.name }, joints.concat(down.nodes, up.nodes, [ name, state ]));
	return {
		node: group,
		update: function(l, mode) {
			const carries = l.state == 'first' || l.state == 'active' || l.state == 'draining';
			group.setAttribute('class', carries ? 'sw-pipe' : (l.usable ? 'sw-pipe sw-idle' : 'sw-pipe sw-dead'));
			group.setAttribute('data-down', Math.round(l.down_bps));
			draw.text(name, l.name + ' · ' + words.role(l.role));
			draw.text(state, l.usable || l.carrier ? words.link(l, mode) : _('No carrier'));
			const cap = l.capacity || {};
			down.fill(share(l.down_bps, cap.down_bps, l.down_peak_bps), '↓ ' + figure(l.down_bps, cap.down_bps));
			up.fill(share(l.up_bps, cap.up_bps, l.up_peak_bps), '↑ ' + figure(l.up_bps, cap.up_bps));
		}
	};
}

/* Without a known capacity the greatest rate seen stands for it. */
function share(rate, capacity, peak) {
	const full = capacity > 0 ? capacity : peak;
	return full > 0 && rate >= 1000 ? rate / full : 0;
}

function figure(rate, capacity) {
	return capacity > 0 ? words.rate(rate) + ' / ' + words.rate(capacity) : words.rate(rate);
}

/* Where everything stands: side by side on a wide page, icons above on a narrow one. */
function geometry(width, count) {
	const narrow = width < 620, top = narrow ? 132 : 28;
	const side = narrow ? 4 : 170;
	const middle = Math.max(40, top + count * ROW / 2 - 12);
	return {
		height: Math.max(top + count * ROW, narrow ? 0 : middle + 76),
		home: narrow ? { x: 44, y: 34 } : { x: 62, y: middle },
		far: narrow ? { x: width - 44, y: 34 } : { x: width - 62, y: middle },
		narrow: narrow,
		place: function(i) {
			const y = top + i * ROW + 6;
			const ends = narrow ? [] : [ { x: 104, y: middle }, { x: width - 104, y: middle } ];
			return { x: side, y: y, width: width - 2 * side, ends: ends };
		}
	};
}

return baseclass.extend({
	/* A picture for a box: node() is put into the page, update(status) is called with each new value. */
	create: function() {
		const box = E('div', { 'class': 'sw-picture' });
		let pipes = {}, built = '', homeNote = null, farName = null, farNote = null;

		function build(s, width) {
			const links = s.links || [], g = geometry(width, links.length);
			const root = svg('svg', { viewBox: '0 0 ' + width + ' ' + g.height, width: width, height: g.height, role: 'img',
				'aria-label': _('Home network, links and concentrator') });
			pipes = {};
			links.forEach(function(l, i) {
				pipes[l.name] = pipe(l, g.place(i), draw.colour(links, l.name));
				root.appendChild(pipes[l.name].node);
			});
			root.appendChild(house(g.home.x, g.home.y));
			root.appendChild(server(g.far.x, g.far.y));
			const anchor = g.narrow ? [ 'start', 'end' ] : [ 'middle', 'middle' ];
			const at = g.narrow ? [ 4, width - 4 ] : [ g.home.x, g.far.x ];
			const homeName = label(at[0], g.home.y + 48, 'sw-name', anchor[0]);
			homeNote = label(at[0], g.home.y + 65, 'sw-note', anchor[0]);
			farName = label(at[1], g.far.y + 48, 'sw-name', anchor[1]);
			farNote = label(at[1], g.far.y + 65, 'sw-note', anchor[1]);
			draw.text(homeName, _('Home'));
			[ homeName, homeNote, farName, farNote ].forEach(function(n) { root.appendChild(n); });
			box.replaceChildren(root);
		}

		return {
			node: box,
			update: function(s) {
				const links = s.links || [];
				const width = Math.max(320, Math.floor(box.clientWidth || 900));
				const key = width + ' ' + links.map(function(l) { return l.name; }).join(' ');
				if (key != built) {
					build(s, width);
					built = key;
				}
				links.forEach(function(l) { pipes[l.name].update(l, s.mode); });
				draw.text(homeNote, _('%d connections').format(s.sessions || 0));
				const c = (s.concentrators || []).filter(function(c) { return c.state == 'up'; })[0] || (s.concentrators || [])[0];
				draw.text(farName, c ? c.name : _('Concentrator'));
				draw.text(farNote, !c ? _('none configured') : (c.state == 'up' ? words.ms(c.rtt_ms) : words.state(c.state)));
			}
		};
	}
});
