/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require view';
'require poll';
'require ui';
'require spillway.api as api';
'require spillway.words as words';
'require spillway.draw as draw';
'require spillway.picture as picture';
'require spillway.chart as chart';

/* Text that comes from the daemon stands in an array everywhere: a string by itself is markup to LuCI. */

const PAGE = 20, SECONDS = 2;

function badge(state, words) {
	return E('span', { 'class': 'sw-badge', 'data-state': state }, [ words ]);
}

/* The one sentence of the policy, and what else is true of the whole. */
function sentence() {
	const strong = E('strong'), state = E('span'), since = E('small');
	const box = E('div', { 'class': 'sw-why' }, [ state, strong, since ]);
	const warnings = E('div');
	return {
		node: E('div', {}, [ box, warnings ]),
		update: function(s) {
			const runs = s.state != null;
			box.classList.toggle('sw-bad', !runs || s.state == 'blocked' || s.state == 'direct');
			draw.text(strong, runs ? s.why || '' : _('Spillway is not running.'));
			state.replaceChildren(badge(s.state || 'down', runs ? words.state(s.state) : _('Stopped')));
			draw.text(since, runs ? _('up %s, %d connections').format(words.duration(s.uptime), s.sessions || 0) : '');
			const lines = (s.warnings || []).slice();
			if (runs && s.doors && !s.doors.open)
				lines.unshift(_('New connections are not bonded: %s').format(s.doors.why));
			if (!runs)
				lines.push(_('Switch it on under Settings. If it is on, the system log tells why it does not start (logread -e spillway), and in a shell spillway doctor does.'));
			warnings.replaceChildren.apply(warnings, lines.map(function(w) {
				return E('div', { 'class': 'alert-message warning' }, [ w ]);
			}));
		}
	};
}

function quota() {
	const expected = E('i', { 'class': 'sw-expected' }), used = E('i'), soft = E('i', { 'class': 'sw-mark' });
	const bar = E('div', { 'class': 'sw-bar', 'role': 'progressbar' }, [ expected, used, soft ]);
	const text = E('p');
	return {
		node: E('div', { 'class': 'sw-quota' }, [ bar, text ]),
		update: function(q, colour) {
			const part = function(n) { return Math.min(100, 100 * n / q.limit).toFixed(1) + '%'; };
			const over = q.forecast > q.limit;
			used.style.cssText = 'width:' + part(q.used) + ';background:' + (q.exhausted ? 'var(--sw-warn)' : colour);
			expected.style.cssText = 'width:' + part(q.forecast) + ';background:' + (over ? 'var(--sw-warn)' : colour);
			soft.style.cssText = q.soft > 0 ? 'left:' + part(q.soft) : 'display:none';
			draw.text(text, _('%s of %s used; %s expected by %s').format(words.size(q.used), words.size(q.limit), words.size(q.forecast), words.day(q.period_end)) +
				(q.daily > 0 ? '; ' + _('today %s of %s').format(words.size(q.today), words.size(q.daily)) : ''));
			text.style.color = over || q.exhausted ? 'var(--sw-warn)' : '';
		}
	};
}

/* A select that gives a link another role until the daemon starts again. */
function roleSelect(name) {
	const select = E('select', {
		'class': 'cbi-input-select', 'style': 'width:auto;min-width:8em', 'aria-label': _('Role'),
		'change': function(ev) {
			ev.target.blur(); /* so that it shows the role in force from the next look on */
			return api.set(name, ev.target.value).catch(function(e) {
				ui.addNotification(null, E('p', [ _('The role of %s was not changed: %s').format(name, e.message) ]), 'danger');
			});
		}
	}, [ 'primary', 'overflow', 'backup', 'off' ].map(function(r) { return E('option', { 'value': r }, words.role(r)); }));
	select.appendChild(E('option', { 'value': 'configured' }, _('As configured')));
	return select;
}

/* A link's card: state and reason, graph, figures, quota. */
function card(link, colour) {
	const state = E('span'), why = E('p'), graph = chart.create(colour), facts = E('dl', { 'class': 'sw-facts' }), bar = quota();
	const role = L.hasViewPermission() ? roleSelect(link.name) : E('span');
	return {
		node: E('div', { 'class': 'sw-card', 'data-link': link.name, 'style': 'border-top-color:' + colour }, [
			E('div', { 'class': 'sw-head' }, [ E('b', {}, [ link.name ]), state ]), why, graph.node, facts, bar.node ]),
		update: function(l, samples, mode) {
			state.replaceChildren(badge(l.usable ? l.state : 'dead', words.link(l, mode)));
			draw.text(why, l.why || '');
			graph.update(samples, l.capacity);
			const cap = l.capacity || {};
			const rows = [
				[ _('Now'), '↓ ' + words.rate(l.down_bps) + '   ↑ ' + words.rate(l.up_bps) ],
				[ _('Capacity'), cap.down_bps > 0 ? '↓ ' + words.rate(cap.down_bps) + '   ↑ ' + words.rate(cap.up_bps) : '–' ],
				[ '', words.source(cap.source) ],
				[ _('Total'), '↓ ' + words.size(l.rx_bytes) + '   ↑ ' + words.size(l.tx_bytes) ],
				[ _('Round trip'), words.ms(l.rtt_ms) + (l.min_rtt_ms > 0 ? ' (' + _('at best %s').format(words.ms(l.min_rtt_ms)) + ')' : '') ],
				[ _('Loss'), ((l.loss || 0) * 100).toFixed(2) + ' %' ],
				[ _('Device'), l.device || '–' ],
				[ _('Address'), [ l.address4, l.address6 ].filter(function(a) { return a; }).join(' ') || '–' ]
			];
			if (facts.children.length == 0) {
				rows.concat([ [ _('Role') ] ]).forEach(function(r, i) {
					facts.appendChild(E('dt', {}, r[0]));
					facts.appendChild(E('dd', {}, i == rows.length ? role : ''));
				});
			}
			rows.forEach(function(r, i) { draw.text(facts.children[2 * i + 1], r[1]); });
			if (role.tagName != 'SELECT')
				draw.text(role, words.role(l.role));
			else if (document.activeElement != role)
				role.value = l.role;
			role.title = l.role_why || '';
			bar.node.style.display = l.quota && l.quota.limit > 0 ? '' : 'none';
			if (l.quota && l.quota.limit > 0)
				bar.update(l.quota, colour);
		}
	};
}

function cards(history) {
	const box = E('div', { 'class': 'sw-links' });
	let built = '', all = {};
	return {
		node: box,
		update: function(s) {
			const links = s.links || [], key = links.map(function(l) { return l.name; }).join(' ');
			if (key != built) {
				all = {};
				links.forEach(function(l) { all[l.name] = card(l, draw.colour(links, l.name)); });
				box.replaceChildren.apply(box, links.map(function(l) { return all[l.name].node; }));
				built = key;
			}
			links.forEach(function(l) { all[l.name].update(l, history.of(l.name), s.mode); });
		}
	};
}

/* What a connection carried on each link, as a bar of the links' colours. */
function shareBar(flow, links) {
	const parts = flow.subflows && flow.subflows.length ? flow.subflows.slice() : [ { link: flow.link, rx_bytes: flow.rx_bytes, tx_bytes: flow.tx_bytes } ];
	const total = parts.reduce(function(n, p) { return n + p.rx_bytes + p.tx_bytes; }, 0) || 1;
	const place = function(p) { return links.findIndex(function(l) { return l.name == p.link; }); };
	parts.sort(function(a, b) { return place(a) - place(b); });
	const title = parts.map(function(p) { return p.link + ': ' + words.size(p.rx_bytes + p.tx_bytes); }).join(', ');
	return E('div', { 'class': 'sw-share', 'title': title }, parts.map(function(p) {
		return E('i', { 'style': 'flex:' + Math.max(0.001, (p.rx_bytes + p.tx_bytes) / total) + ';background:' + draw.colour(links, p.link) });
	}));
}

function flowTable() {
	const body = E('tbody'), pages = E('div', { 'class': 'sw-pages' });
	let offset = 0, fetch = null;
	const heads = [ _('Connection'), _('Links'), _('Rule or kind'), _('Age'), _('Received'), _('Sent') ];
	const table = E('table', { 'class': 'table sw-flows' }, [
		E('thead', {}, E('tr', { 'class': 'tr table-titles' }, heads.map(function(h, i) {
			return E('th', { 'class': 'th' + (i > 2 ? ' sw-number' : '') + (i == 2 || i == 3 ? ' sw-less' : '') }, h);
		}))), body ]);
	function turn(by) {
		return E('button', { 'class': 'btn cbi-button', 'click': function() { offset = Math.max(0, offset + by); return fetch(); } }, by < 0 ? '‹' : '›');
	}
	const back = turn(-PAGE), forth = turn(PAGE), where = E('span');
	[ back, where, forth ].forEach(function(n) { pages.appendChild(n); });
	return {
		node: E('div', {}, [ E('div', { 'class': 'sw-scroll' }, table), pages ]),
		onTurn: function(fn) { fetch = fn; },
		read: function() { return api.flows(offset, PAGE); },
		update: function(f, links) {
			const flows = f.flows || [];
			body.replaceChildren.apply(body, flows.map(function(flow) {
				return E('tr', { 'class': 'tr' }, [
					E('td', { 'class': 'td' }, [ flow.source + ' → ' + flow.destination ]),
					E('td', { 'class': 'td' }, shareBar(flow, links)),
					E('td', { 'class': 'td sw-less' }, [ flow.rule || words.kind(flow['class']) ]),
					E('td', { 'class': 'td sw-number sw-less' }, words.duration(flow.age_s)),
					E('td', { 'class': 'td sw-number' }, '↓ ' + words.size(flow.rx_bytes)),
					E('td', { 'class': 'td sw-number' }, '↑ ' + words.size(flow.tx_bytes))
				]);
			}));
			if (!flows.length)
				body.appendChild(E('tr', { 'class': 'tr placeholder' }, E('td', { 'class': 'td', 'colspan': 6 }, E('em', {}, _('No connections')))));
			const total = f.total || 0;
			draw.text(where, total ? _('%d to %d of %d').format(Math.min(offset + 1, total), offset + flows.length, total) : '');
			back.disabled = offset == 0;
			forth.disabled = offset + PAGE >= total;
			pages.style.display = total > PAGE ? '' : 'none';
			if (offset >= total)
				offset = 0;
		}
	};
}

function timeline() {
	const list = E('ul', { 'class': 'sw-timeline' });
	return {
		node: list,
		update: function(answer, links) {
			const all = (answer.transitions || []).slice(-30).reverse();
			list.replaceChildren.apply(list, all.map(function(t) {
				const colour = t.link ? draw.colour(links, t.link) : '#7a7f8a';
				return E('li', { 'style': '--sw-dot:' + colour }, [
					E('small', {}, words.moment(t.at)),
					E('b', {}, [ t.link || _('Router') ]), ' ', words.state(t.from), ' → ', words.state(t.to),
					E('div', {}, [ t.why ])
				]);
			}));
			if (!all.length)
				list.appendChild(E('em', {}, _('Nothing has changed yet')));
		}
	};
}

return view.extend({
	load: function() {
		return Promise.all([ api.status(), api.flows(0, PAGE), api.why() ]);
	},

	render: function(data) {
		const history = chart.history();
		const head = sentence(), scene = picture.create(), boxes = cards(history), flows = flowTable(), times = timeline();
		const body = E('div', {}, [
			scene.node,
			E('h3', {}, _('Links')),
			boxes.node,
			E('p', { 'class': 'sw-legend' }, _('Area: download. Dotted: upload. Dashed: capacity. Shaded: overflow takes what the primary cannot carry.') +
				(L.hasViewPermission() ? ' ' + _('A role that is chosen here holds until the daemon starts again.') : '')),
			E('h3', {}, _('Connections')),
			flows.node,
			E('h3', {}, _('What changed, and why')),
			times.node
		]);
		let last = data[0];

		function show(s, f, w) {
			last = s;
			head.update(s);
			body.style.display = s.state == null ? 'none' : ''; /* without a daemon there is nothing to draw */
			if (s.state == null)
				return;
			history.add(s);
			scene.update(s);
			boxes.update(s);
			flows.update(f, s.links || []);
			times.update(w, s.links || []);
		}

		flows.onTurn(function() { return flows.read().then(function(f) { flows.update(f, last.links || []); }); });
		poll.add(function() {
			return Promise.all([ api.status(), flows.read(), api.why() ]).then(function(d) { show(d[0], d[1], d[2]); });
		}, SECONDS);
		window.addEventListener('resize', function() {
			if (last.state != null)
				scene.update(last);
		});
		window.requestAnimationFrame(function() { show(data[0], data[1], data[2]); }); /* once the boxes have their width */

		return E('div', { 'class': 'sw' }, [
			E('link', { 'rel': 'stylesheet', 'href': L.resource('spillway/style.css') }),
			E('h2', {}, _('Spillway')),
			head.node,
			body
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
