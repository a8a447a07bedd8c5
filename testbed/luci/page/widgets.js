/* SPDX-License-Identifier: Apache-2.0 */
'use strict';
'require baseclass';
'require form';
'require rpc';

/* A stand-in for LuCI's tools.widgets: selects of netifd's interfaces, and of the devices behind them. */

const dump = rpc.declare({ object: 'network.interface', method: 'dump', expect: { 'interface': [] } });

const NetworkSelect = form.ListValue.extend({
	load: async function() {
		const self = this;
		this.keys = [ [ '', '–' ] ];
		(await dump()).forEach(function(i) {
			if (i.interface != self.exclude)
				self.value(i.interface);
		});
	}
});

const DeviceSelect = form.MultiValue.extend({
	load: async function() {
		const self = this, seen = {};
		this.keys = [];
		(await dump()).forEach(function(i) {
			const d = i.l3_device || i.device;
			if (d && !seen[d])
				self.value(d);
			seen[d] = true;
		});
	}
});

return baseclass.extend({ NetworkSelect: NetworkSelect, DeviceSelect: DeviceSelect });
