/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';

/* SVG elements, and the colours that links have on every page. */

const NS = 'http://www.w3.org/2000/svg';

/* The first two are the usual pair, fixed and mobile; all are readable on white and on black. */
const colours = [ '#3b82c4', '#e07b24', '#3d9c6c', '#9b62c9', '#c2506a', '#2a9fa8', '#9a8420', '#7a7f8a' ];

function svg(tag, attrs, children) {
	const node = document.createElementNS(NS, tag);
	for (const name in (attrs || {}))
		node.setAttribute(name, attrs[name]);
	if (children != null)
		(Array.isArray(children) ? children : [ children ]).forEach(function(child) {
			node.appendChild(typeof child == 'object' ? child : document.createTextNode(child));
		});
	return node;
}

return baseclass.extend({
	svg: svg,

	set: function(node, attrs) {
		for (const name in attrs)
			node.setAttribute(name, attrs[name]);
	},

	text: function(node, words) {
		if (node.textContent != words)
			node.textContent = words;
	},

	/* links: the status value's; the colour follows the place in the configuration. */
	colour: function(links, name) {
		for (let i = 0; i < links.length; i++)
			if (links[i].name == name)
				return colours[i % colours.length];
		return colours[colours.length - 1];
	},

	/* The least round number that is not below value. */
	ceiling: function(value) {
		const power = Math.pow(10, Math.floor(Math.log10(Math.max(value, 1e5))));
		return power * ([ 1, 1.5, 2, 3, 4, 6, 8 ].find(function(step) { return step * power >= value; }) || 10);
	}
});
