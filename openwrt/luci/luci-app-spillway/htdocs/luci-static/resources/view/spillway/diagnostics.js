/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require view';
'require ui';
'require spillway.api as api';

const marks = { ok: '✔', warn: '!', fail: '✘', skip: '–', blocked: '–' };

/* Text that comes from the daemon stands in an array everywhere: a string by itself is markup to LuCI. */

/* The check whose failure is why another was not made: what that needs was perhaps not checked either. */
function cause(check, checks) {
	const by = checks.find(function(c) { return c.name == check.needs; });
	return by && by.result == 'blocked' ? cause(by, checks) : check.needs;
}

/* A check: what was found, and for a failure what to do about it. One that another's failure explains stands under it. n is its place in the list. */
function item(check, n, checks) {
	const body = [ E('b', {}, [ check.name ]), E('p', {}, [ check.result == 'blocked' ? _('Not checked: %s has to be well first.').format(cause(check, checks)) : check.what ]) ];
	if (check.remedy)
		body.push(E('p', {}, [ check.remedy ]));
	if (check.command)
		body.push(E('p', {}, E('code', {}, [ check.command ])));
	return E('li', { 'id': 'sw-check-' + n, 'class': check.result == 'blocked' || check.result == 'skip' ? 'sw-under' : '', 'data-check': check.name, 'data-result': check.result }, [
		E('span', { 'class': 'sw-mark-' + check.result, 'aria-label': check.result }, marks[check.result] || '?'),
		E('div', {}, body)
	]);
}

/* What failed or warns, by name: each leads to its place in the list, which is long. */
function wrong(checks, result) {
	const links = [];
	checks.forEach(function(c, n) {
		if (c.result == result)
			links.push(' ', E('span', { 'class': 'sw-mark-' + result }, marks[result]), '\u00a0', E('a', { 'href': '#sw-check-' + n }, [ c.name ]));
	});
	return links;
}

function summary(answer) {
	if (answer.late)
		return E('div', { 'class': 'alert-message warning' }, _('The examination takes longer than this page waits for it. In a shell it has the time: spillway doctor'));
	if (answer.ok == null)
		return E('div', { 'class': 'alert-message warning' }, _('Spillway does not answer: it is not running, or switched off under Settings. The system log tells more (logread -e spillway), and in a shell spillway doctor does.'));
	const checks = answer.checks || [];
	const of = function(result) { return checks.filter(function(c) { return c.result == result; }).length; };
	const failed = of('fail'), warned = of('warn'), all = failed + warned + of('ok');
	const text = all == 0 ? _('There was nothing to check.') :
		failed ? _('%d of %d checks failed.').format(failed, all) :
		warned ? _('No check failed; %d of %d warn.').format(warned, all) : _('All %d checks are well.').format(all);
	return E('div', { 'class': 'alert-message ' + (failed || warned ? 'warning' : 'success') }, [ text ].concat(wrong(checks, 'fail'), wrong(checks, 'warn')));
}

return view.extend({
	load: function() { return api.doctor(); },

	render: function(first) {
		const result = E('div');

		function show(answer) {
			result.replaceChildren(summary(answer), E('ul', { 'class': 'sw-checks' }, (answer.checks || []).map(item)));
		}

		const again = E('button', {
			'class': 'btn cbi-button cbi-button-action',
			'click': ui.createHandlerFn(this, function() { return api.doctor().then(show); })
		}, _('Check again'));

		show(first);
		return E('div', { 'class': 'sw' }, [
			E('link', { 'rel': 'stylesheet', 'href': L.resource('spillway/style.css') }),
			E('h2', {}, _('Spillway: diagnostics')),
			E('p', {}, [ _('From carrier to concentrator: what is well, what is not, and what to do about it.'), ' ', again ]),
			result
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
