/* SPDX-License-Identifier: Apache-2.0 */
'use strict';

/* A stand-in for LuCI's runtime: as much of luci.js, rpc, poll, uci, ui and view as Spillway's pages use, with LuCI's own names
   and habits (an unticked flag is removed unless rmempty is false, a call without an answer yields its default). The forms are in
   form.js. Written for these tests from LuCI's documentation; what works here still has to be tried on a router. */

(function(window, document) {
	const catalogue = window.L_ENV.catalogue || {};

	window._ = function(s) { return catalogue[s] || s; };

	String.prototype.format = function() {
		const args = arguments;
		let n = 0;
		return this.replace(/%(\.\d+)?([sdf%])/g, function(all, digits, kind) {
			if (kind == '%')
				return '%';
			const v = args[n++];
			if (kind == 'd')
				return String(Math.trunc(Number(v)) || 0);
			return kind == 'f' ? Number(v).toFixed(digits ? +digits.slice(1) : 6) : String(v);
		});
	};

	/* As luci.js appends: an array's items are nodes or text, and no arrays; a string by itself is markup. What comes from elsewhere
	   belongs into an array, therefore. */
	function append(node, children) {
		if (Array.isArray(children))
			children.forEach(function(c) { node.appendChild(c instanceof Node ? c : document.createTextNode(String(c))); });
		else if (typeof children == 'function')
			append(node, children(node));
		else if (children instanceof Node)
			node.appendChild(children);
		else if (children != null)
			node.innerHTML = String(children);
	}

	/* E(tag, attributes, children) or E(tag, children); functions become listeners, null leaves an attribute out. */
	window.E = function(tag, attrs, children) {
		const node = document.createElement(tag);
		if (attrs == null || typeof attrs != 'object' || Array.isArray(attrs)) {
			children = attrs == null ? children : attrs;
			attrs = {};
		}
		for (const name in attrs) {
			if (typeof attrs[name] == 'function')
				node.addEventListener(name, attrs[name]);
			else if (attrs[name] != null)
				node.setAttribute(name, attrs[name]);
		}
		append(node, children);
		return node;
	};

	/* Classes as L.Class makes them: extend() with properties, super methods by plain inheritance. */
	function Base() {}
	Base.extend = function(properties) {
		const parent = this;
		function Class() {
			if (typeof this.__init__ == 'function')
				this.__init__.apply(this, arguments);
		}
		Class.prototype = Object.create(parent.prototype);
		for (const name in properties)
			Class.prototype[name] = properties[name];
		Class.prototype.constructor = Class;
		Class.extend = Base.extend;
		return Class;
	};

	const built = { baseclass: Base };
	const loading = {};

	/* The directives at the head of a module: 'use strict' and 'require x as y', comments between them. */
	function directives(source) {
		const deps = [];
		let off = -1, quote = 0, comment = 0, previous = 0, escaped = false;
		for (let i = 0; i < source.length; i++) {
			const c = source.charCodeAt(i);
			if (escaped) {
				escaped = false;
			}
			else if (comment) {
				if ((comment == 47 && c == 10) || (comment == 42 && previous == 42 && c == 47))
					comment = 0;
			}
			else if ((c == 42 || c == 47) && previous == 47) {
				comment = c;
			}
			else if (c == 92) {
				escaped = true;
			}
			else if (quote && c == quote) {
				const s = source.substring(off, i), m = /^require[ \t]+(\S+)(?:[ \t]+as[ \t]+([A-Za-z_]\S*))?$/.exec(s);
				if (m)
					deps.push([ m[1], m[2] || m[1].replace(/[^A-Za-z0-9]/g, '_') ]);
				else if (s != 'use strict')
					break;
				quote = 0;
			}
			else if (!quote && (c == 34 || c == 39)) {
				off = i + 1;
				quote = c;
			}
			previous = c;
		}
		return deps;
	}

	async function load(name) {
		const url = L.resource(name.replace(/\./g, '/') + '.js');
		const answer = await fetch(url);
		if (!answer.ok)
			throw new Error('module ' + name + ': ' + answer.status);
		const source = await answer.text(), deps = directives(source);
		const values = [];
		for (const d of deps)
			values.push(await L.require(d[0]));
		const factory = new Function('window', 'document', 'L', ...deps.map(function(d) { return d[1]; }), source + '\n//# sourceURL=' + url);
		const Class = factory.call(window, window, document, L, ...values);
		if (typeof Class != 'function' || !(Class.prototype instanceof Base))
			throw new Error('module ' + name + ' returns no class');
		return new Class();
	}

	let id = 0;

	/* One JSON-RPC call, as uhttpd-mod-ubus takes it. Resolves with [status, data]. */
	async function post(object, method, args) {
		const answer = await fetch(L_ENV.ubuspath, { method: 'POST', headers: { 'Content-Type': 'application/json' },
			body: JSON.stringify({ jsonrpc: '2.0', id: ++id, method: 'call', params: [ L_ENV.sessionid, object, method, args || {} ] }) });
		const reply = await answer.json();
		if (reply.error)
			throw new Error(reply.error.message);
		return reply.result;
	}

	window.L = {
		env: window.L_ENV,
		resource: function(path) { return L_ENV.resource + '/' + path; },
		url: function() { return '/cgi-bin/luci/' + Array.prototype.join.call(arguments, '/'); },
		bind: function(fn, self) { return fn.bind(self, ...Array.prototype.slice.call(arguments, 2)); },
		resolveDefault: function(promise, standard) { return Promise.resolve(promise).catch(function() { return standard; }); },
		toArray: function(v) { return v == null ? [] : (Array.isArray(v) ? v : String(v).trim().split(/\s+/)); },
		hasViewPermission: function() { return L_ENV.writable; },
		Class: Base,
		require: function(name) {
			if (built[name])
				return Promise.resolve(built[name]);
			if (!loading[name])
				loading[name] = load(name).then(function(m) { return (built[name] = m); });
			return loading[name];
		}
	};

	built.rpc = {
		call: post,
		declare: function(d) {
			return function() {
				const args = {}, given = arguments;
				(d.params || []).forEach(function(p, i) {
					if (given[i] !== undefined)
						args[p] = given[i];
				});
				return post(d.object, d.method, args).then(function(result) {
					if (d.reject && result[0] != 0)
						throw new Error('status ' + result[0]);
					if (d.expect == null)
						return result[1];
					for (const key in d.expect) {
						const v = result[0] == 0 ? (key === '' ? result[1] : (result[1] || {})[key]) : null;
						return v == null || Array.isArray(v) != Array.isArray(d.expect[key]) ? d.expect[key] : v;
					}
				});
			};
		}
	};

	built.poll = {
		add: function(fn, seconds) {
			let busy = false;
			return window.setInterval(function() {
				if (busy || document.hidden)
					return;
				busy = true;
				Promise.resolve(fn()).catch(function(e) { console.error(e); }).finally(function() { busy = false; });
			}, (seconds || 5) * 1000);
		}
	};

	built.ui = {
		addNotification: function(title, body, cls) {
			const box = E('div', { 'class': 'alert-message ' + (cls || '') }, title ? [ E('h4', [ title ]), body ] : [ body ]);
			document.getElementById('maincontent').prepend(box);
			return box;
		},
		createHandlerFn: function(self, fn) {
			const bound = Array.prototype.slice.call(arguments, 2);
			return function(ev) {
				const button = ev.currentTarget;
				button.disabled = true;
				return Promise.resolve((typeof fn == 'string' ? self[fn] : fn).call(self, ...bound, ev)).catch(function(e) {
					built.ui.addNotification(null, E('p', [ e.message ]), 'danger');
				}).finally(function() { button.disabled = false; });
			};
		}
	};

	/* Sections of loaded packages, and the calls that are made when they are saved. */
	const packages = {}, staged = [];
	let fresh = 0;
	const uci = built.uci = {
		load: async function(config) {
			if (packages[config])
				return;
			const result = await post('uci', 'get', { config: config });
			if (result[0] != 0)
				throw new Error('uci get ' + config + ': status ' + result[0]);
			packages[config] = Object.values(result[1].values).sort(function(a, b) { return a['.index'] - b['.index']; });
		},
		unload: function(config) { delete packages[config]; },
		sections: function(config, type) { return (packages[config] || []).filter(function(s) { return !type || s['.type'] == type; }); },
		get: function(config, section, option) {
			const s = (packages[config] || []).find(function(s) { return s['.name'] == section; });
			return s && option ? (s[option] == null ? null : s[option]) : (s || null);
		},
		set: function(config, section, option, value) {
			const s = uci.get(config, section);
			s[option] = value;
			staged.push([ 'set', { config: config, section: section, values: { [option]: value } } ]);
		},
		unset: function(config, section, option) {
			delete uci.get(config, section)[option];
			staged.push([ 'delete', { config: config, section: section, option: option } ]);
		},
		add: function(config, type, name) {
			const s = { '.type': type, '.name': name || 'new' + (++fresh), '.anonymous': !name, '.index': 1e6 + fresh };
			packages[config].push(s);
			staged.push([ 'add', { config: config, type: type, name: s['.name'] } ]);
			return s['.name'];
		},
		remove: function(config, section) {
			packages[config] = packages[config].filter(function(s) { return s['.name'] != section; });
			staged.push([ 'delete', { config: config, section: section } ]);
		},
		move: function(config, section, before) {
			const list = packages[config], s = uci.get(config, section);
			list.splice(list.indexOf(s), 1);
			list.splice(before ? list.indexOf(uci.get(config, before)) : list.length, 0, s);
			staged.push([ 'order', { config: config, sections: list.map(function(s) { return s['.name']; }) } ]);
		},
		save: async function() {
			while (staged.length) {
				const call = staged.shift(), result = await post('uci', call[0], call[1]);
				if (result[0] != 0)
					throw new Error('uci ' + call[0] + ': status ' + result[0]);
			}
		},
		apply: async function() {
			const result = await post('uci', 'apply', { rollback: false });
			if (result[0] != 0)
				throw new Error('uci apply: status ' + result[0]);
		}
	};

	function footer(v, root) {
		const buttons = [];
		const ui = built.ui;
		const maps = function() { return Array.from(root.querySelectorAll('.cbi-map')).map(function(n) { return n.map; }); };
		v.handleSave = v.handleSave === null ? null : function() { return Promise.all(maps().map(function(m) { return m.save(); })); };
		if (v.handleSaveApply !== null)
			buttons.push(E('button', { 'class': 'btn cbi-button cbi-button-apply', 'click': ui.createHandlerFn(v, async function() {
				await v.handleSave();
				await uci.apply();
				ui.addNotification(null, E('p', _('Configuration applied.')), 'success');
			}) }, 'Save & Apply'));
		if (v.handleSave !== null)
			buttons.push(' ', E('button', { 'class': 'btn cbi-button cbi-button-save', 'click': ui.createHandlerFn(v, 'handleSave') }, 'Save'));
		return buttons.length ? E('div', { 'class': 'cbi-page-actions' }, buttons) : '';
	}

	built.view = Base.extend({
		__init__: function() {
			const self = this, target = document.getElementById('view');
			this.ready = Promise.resolve(this.load ? this.load() : null).then(function(data) { return self.render(data); }).then(function(node) {
				target.replaceChildren(node);
				const f = footer(self, target);
				if (f)
					target.appendChild(f);
			}).catch(function(e) {
				console.error(e);
				target.replaceChildren(E('pre', { 'class': 'alert-message danger' }, [ e.stack || e ]));
			});
		}
	});
})(window, document);
