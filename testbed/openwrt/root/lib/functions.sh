# SPDX-License-Identifier: Apache-2.0
# The part of OpenWrt's /lib/functions.sh that packages meet: reading UCI, and what runs when a package comes or goes. Written
# from what those functions are known to do; order and conditions are OpenWrt's.

config_load() { eval "$(uci shell "$1")"; }

config_get() {
	eval "$1=\"\${CONFIG_$2_$3:-\$4}\""
}

config_get_bool() {
	local word
	config_get word "$2" "$3" "$4"
	case "$word" in
		1|on|true|yes|enabled) word=1 ;;
		0|off|false|no|disabled) word=0 ;;
		*) word="$4" ;;
	esac
	eval "$1=\"\$word\""
}

# The list of the package's files, as opkg and apk leave it.
package_files() {
	cat "/usr/lib/opkg/info/$1.list" "/lib/apk/packages/$1.list" 2>/dev/null
}

add_group_and_user() { :; }

default_postinst() {
	local pkgname="${pkgname:-$(basename "${1%.*}")}" f code=0
	if package_files "$pkgname" | grep -q '^/etc/uci-defaults/'; then
		mkdir -p /tmp/.uci
		for f in $(package_files "$pkgname" | grep '^/etc/uci-defaults/'); do
			# shellcheck disable=SC1090
			( [ -f "$f" ] && cd "$(dirname "$f")" && . "$f" ) && rm -f "$f"
		done
		uci commit
	fi
	rm -f /tmp/luci-indexcache.*
	if [ -f "/usr/lib/opkg/info/$pkgname.postinst-pkg" ]; then
		# shellcheck disable=SC1090
		( . "/usr/lib/opkg/info/$pkgname.postinst-pkg" )
		code=$?
	fi
	for f in $(package_files "$pkgname" | grep '^/etc/init.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$f" enable
		"$f" start
	done
	return $code
}

default_prerm() {
	local pkgname="${pkgname:-$(basename "${1%.*}")}" f
	for f in $(package_files "$pkgname" | grep '^/etc/init.d/'); do
		[ "$PKG_UPGRADE" = 1 ] || "$f" disable
		"$f" stop
	done
}
