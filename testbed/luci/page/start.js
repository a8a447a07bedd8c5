/* SPDX-License-Identifier: Apache-2.0 */
'use strict';

/* Shows the view, or the boxes of the Overview page one after the other. */
(async function() {
	if (L_ENV.view) {
		await (await L.require('view.' + L_ENV.view.replace(/\//g, '.'))).ready;
	}
	else {
		for (const name of L_ENV.includes) {
			const box = await L.require('view.status.include.' + name);
			const data = await box.load(), body = E('div', {}, box.render(data));
			document.getElementById('view').appendChild(E('div', { 'class': 'cbi-section' }, [ E('h3', {}, box.title), body ]));
			(await L.require('poll')).add(function() { return box.load().then(function(d) { body.replaceChildren(box.render(d)); }); }, 3);
		}
	}
	document.body.dataset.ready = 'yes';
})();
