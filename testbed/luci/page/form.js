/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require uci';

/* A stand-in for LuCI's form module. It draws every option of a section in place, where LuCI opens a dialogue for a grid's sections;
   storing follows LuCI's rules. Of a grid it is done first: LuCI's dialogues have done it before the page is saved. */

/* E, whose children may be nested and absent; text is text. */
function make(tag, attrs, children) {
	return E(tag, attrs, [ children ].flat(9).filter(function(c) { return c != null; }));
}

const Option = baseclass.extend({
	__init__: function(section, name, title, text) {
		this.section = section;
		this.option = name;
		this.title = title;
		this.text = text;
		this.rmempty = true;
		this.needs = [];
		this.keys = [];
	},
	depends: function(name, value) { this.needs.push([ name, value ]); },
	value: function(key, words) { this.keys.push([ key, words == null ? key : words ]); },
	config: function() { return this.section.map.config; },
	cfgvalue: function(id) { const v = uci.get(this.config(), id, this.option); return v == null ? this.default : v; },
	shown: function(id) {
		const self = this;
		return !this.needs.length || this.needs.some(function(d) {
			const other = self.section.options.find(function(o) { return o.option == d[0]; });
			return String((other ? other.formvalue(id) : '') || '') == d[1];
		});
	},
	draw: function(id) {
		const self = this;
		this.nodes = this.nodes || {};
		this.nodes[id] = this.widget(id, this.cfgvalue(id));
		this.error = make('div', { 'class': 'error' });
		const row = make('div', { 'class': 'cbi-value', 'data-name': this.option, 'data-section': id, 'id': 'cbid.' + this.config() + '.' + id + '.' + this.option }, [
			make('label', { 'class': 'cbi-value-title' }, this.title),
			make('div', { 'class': 'cbi-value-field' }, [ this.nodes[id], make('div', { 'class': 'cbi-value-description' }, this.text || ''), make('div', { 'class': 'error' }) ])
		]);
		this.rows = this.rows || {};
		this.rows[id] = row;
		row.addEventListener('change', function() { self.section.refresh(id); });
		return row;
	},
	formvalue: function(id) { return this.nodes[id].value; },
	/* What is wrong with the value, '' for nothing. As in LuCI, validate is asked for an empty one too. */
	wrong: function(id) {
		const self = this, v = this.formvalue(id), values = Array.isArray(v) ? v : [ v ];
		if (!this.rmempty && this.kind != 'flag' && (v == null || !v.length))
			return 'Expecting: non-empty value';
		return values.map(function(one) { return self.validate ? self.validate(id, one) : true; }).find(function(said) { return said !== true; }) || '';
	},
	/* LuCI's rule: what equals the stored value is not written, what is empty or hidden is removed. */
	parse: function(id) {
		const old = uci.get(this.config(), id, this.option), v = this.shown(id) ? this.formvalue(id) : null;
		const message = this.shown(id) ? this.wrong(id) : '';
		this.rows[id].querySelector('.error').textContent = message;
		if (message)
			return Promise.reject(new TypeError(this.title + ': ' + message));
		if (v == null || !v.length || this.dropped(v)) {
			if (old != null)
				uci.unset(this.config(), id, this.option);
		}
		else if (JSON.stringify(v) != JSON.stringify(old))
			uci.set(this.config(), id, this.option, v);
		return Promise.resolve();
	},
	dropped: function() { return false; }
});

const Value = Option.extend({
	widget: function(id, v) {
		return make('input', { 'class': 'cbi-input-text', 'type': this.password ? 'password' : 'text', 'value': v == null ? '' : v, 'placeholder': this.placeholder || '' });
	}
});

const Flag = Option.extend({
	kind: 'flag',
	widget: function(id, v) { return make('input', { 'type': 'checkbox', 'checked': v == '1' ? '' : null }); },
	formvalue: function(id) { return this.nodes[id].checked ? '1' : '0'; },
	dropped: function(v) { return v == '0' && this.rmempty; } /* the trap: see view/spillway/settings.js */
});

const ListValue = Option.extend({
	widget: function(id, v) {
		return make('select', { 'class': 'cbi-input-select' }, this.keys.map(function(k) { return make('option', { 'value': k[0], 'selected': k[0] == v ? '' : null }, k[1]); }));
	}
});

const DynamicList = Option.extend({
	widget: function(id, v) { return make('textarea', { 'rows': 1, 'placeholder': this.placeholder || '' }, L.toArray(v).join('\n')); },
	formvalue: function(id) { return this.nodes[id].value.split('\n').map(function(s) { return s.trim(); }).filter(function(s) { return s; }); }
});

const MultiValue = Option.extend({
	widget: function(id, v) {
		const chosen = L.toArray(v);
		return make('div', {}, this.keys.map(function(k) {
			return make('label', { 'style': 'margin-right:.8em' }, [ make('input', { 'type': 'checkbox', 'value': k[0], 'checked': chosen.includes(k[0]) ? '' : null }), ' ', k[1] ]);
		}));
	},
	formvalue: function(id) { return Array.from(this.nodes[id].querySelectorAll('input:checked')).map(function(n) { return n.value; }); }
});

const Section = baseclass.extend({
	__init__: function(map, id, title, text) {
		this.map = map;
		this.id = id;
		this.title = title;
		this.text = text;
		this.options = [];
		this.tabs = [];
	},
	option: function(Class, name, title, text) {
		const o = new Class(this, name, title, text);
		this.options.push(o);
		return o;
	},
	tab: function(name, title) { this.tabs.push([ name, title ]); },
	taboption: function(tab, Class, name, title, text) {
		if (!this.tabs.some(function(t) { return t[0] == tab; }))
			throw new Error('no tab ' + tab);
		const o = this.option(Class, name, title, text);
		o.tab = tab;
		return o;
	},
	refresh: function(id) { this.options.forEach(function(o) { o.rows[id].style.display = o.shown(id) ? '' : 'none'; }); },
	fields: function(id) {
		const self = this;
		if (!this.tabs.length)
			return this.options.map(function(o) { return o.draw(id); });
		return this.tabs.map(function(t) {
			return make('fieldset', { 'class': 'cbi-tab' }, [ make('legend', {}, t[1]) ].concat(self.options.filter(function(o) { return o.tab == t[0]; }).map(function(o) { return o.draw(id); })));
		});
	},
	head: function() { return [ make('h3', {}, this.title || ''), this.text ? make('div', { 'class': 'cbi-section-descr' }, this.text) : null ]; },
	formvalue: function(id, name) {
		const o = this.options.find(function(o) { return o.option == name; });
		return o ? o.formvalue(id) : null;
	},
	parse: function() {
		const self = this;
		return Promise.all(this.ids().flatMap(function(id) { return self.options.map(function(o) { return o.parse(id); }); }));
	}
});

const NamedSection = Section.extend({
	__init__: function(map, name, type, title, text) {
		Section.prototype.__init__.call(this, map, name, title, text);
		this.type = type;
	},
	ids: function() { return uci.get(this.map.config, this.id) ? [ this.id ] : []; },
	draw: function() {
		const node = make('div', { 'class': 'cbi-section' }, [ this.head(), this.ids().length ? this.fields(this.id) : make('em', {}, 'No such section') ]);
		if (this.ids().length)
			this.refresh(this.id);
		return node;
	}
});

const GridSection = Section.extend({
	ids: function() { return uci.sections(this.map.config, this.id).map(function(s) { return s['.name']; }); },
	draw: function() {
		const self = this, box = make('div', { 'class': 'cbi-section', 'data-type': this.id });
		function redraw() {
			const rows = self.ids().map(function(id) {
				return make('details', { 'class': 'cbi-section-table-row', 'data-section-id': id, 'open': '' }, [
					make('summary', {}, make('b', {}, self.anonymous ? uci.get(self.map.config, id, 'name') || id : id)),
					self.fields(id),
					self.addremove ? make('button', { 'class': 'btn cbi-button cbi-button-remove', 'click': function() { uci.remove(self.map.config, id); redraw(); } }, 'Delete') : null ]);
			});
			const name = make('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'placeholder': 'name' });
			const add = make('div', { 'class': 'cbi-section-create' }, [ self.anonymous ? null : name,
				make('button', { 'class': 'btn cbi-button cbi-button-add', 'click': function() {
					if (self.anonymous || /^[A-Za-z0-9_]+$/.test(name.value)) {
						uci.add(self.map.config, self.id, self.anonymous ? null : name.value);
						redraw();
					}
				} }, 'Add') ]);
			box.replaceChildren();
			[ self.head(), rows, self.addremove ? add : null ].flat(2).forEach(function(n) { if (n) box.appendChild(n); });
			self.ids().forEach(function(id) { self.refresh(id); });
		}
		redraw();
		return box;
	}
});

const Map = baseclass.extend({
	__init__: function(config, title, text) {
		this.config = config;
		this.title = title;
		this.text = text;
		this.sections = [];
	},
	section: function(Class) {
		const s = new Class(this, ...Array.prototype.slice.call(arguments, 1));
		this.sections.push(s);
		return s;
	},
	render: async function() {
		await uci.load(this.config);
		const all = this.sections.flatMap(function(s) { return s.options; });
		for (const o of all)
			if (o.load)
				await o.load();
		const node = make('div', { 'class': 'cbi-map' }, [ make('h2', {}, this.title), make('div', { 'class': 'cbi-map-descr' }, this.text || ''),
			this.sections.map(function(s) { return s.draw(); }) ]);
		node.map = this;
		return node;
	},
	save: async function() {
		const grid = function(s) { return s instanceof GridSection; };
		await Promise.all(this.sections.filter(grid).map(function(s) { return s.parse(); }));
		await Promise.all(this.sections.filter(function(s) { return !grid(s); }).map(function(s) { return s.parse(); }));
		await uci.save();
	}
});

return baseclass.extend({
	Map: Map, NamedSection: NamedSection, GridSection: GridSection,
	Value: Value, Flag: Flag, ListValue: ListValue, DynamicList: DynamicList, MultiValue: MultiValue
});
