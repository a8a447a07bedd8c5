# SPDX-License-Identifier: Apache-2.0
# procd's shell side: what an init script says of its instances becomes one message. Here it is lines, "word" and below it
# "=VALUE" for each value; the real one makes JSON of it.

PROCD_TEXT=""

procd_say() { PROCD_TEXT="$PROCD_TEXT$1
"; shift; local v; for v in "$@"; do PROCD_TEXT="$PROCD_TEXT=$v
"; done; }

procd_open_instance() { procd_say instance "${1:-instance1}"; }
procd_close_instance() { :; }

procd_set_param() {
	local kind="$1"
	shift
	case "$kind" in
		reload_signal) set -- "$(kill -l "$1")" ;;
	esac
	procd_say "$kind" "$@"
}

procd_add_jail() { procd_say jail "$@"; }
# shellcheck disable=SC2068
procd_add_jail_mount() { procd_say jail_mount $@; }
# shellcheck disable=SC2068
procd_add_jail_mount_rw() { procd_say jail_mount_rw $@; }
procd_add_reload_trigger() { procd_say trigger "$@"; }

procd_send() { printf '%s' "$PROCD_TEXT" | procd-call "$1" "$2" "$3"; PROCD_TEXT=""; }
