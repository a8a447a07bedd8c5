// SPDX-License-Identifier: Apache-2.0

package config

// The raw structures mirror the file. A pointer stands where absent differs from zero.

type rawFile struct {
	Log struct {
		Level string `toml:"level"`
	} `toml:"log"`
	Daemon struct {
		Control string `toml:"control"`
		State   string `toml:"state"`
		Ubus    string `toml:"ubus"`
	} `toml:"daemon"`
	LAN struct {
		Interfaces  []string `toml:"interfaces"`
		NativeMPTCP string   `toml:"native_mptcp"`
	} `toml:"lan"`
	Numbers struct {
		MarkMask *int64 `toml:"mark_mask"`
		Table    *int64 `toml:"table"`
		Priority *int64 `toml:"priority"`
		Endpoint *int64 `toml:"endpoint"`
	} `toml:"numbers"`
	Link         []rawLink         `toml:"link"`
	Concentrator []rawConcentrator `toml:"concentrator"`
	Policy       rawPolicy         `toml:"policy"`
	Relay        rawRelay          `toml:"relay"`
	Rule         []rawRule         `toml:"rule"`
}

type rawLink struct {
	Name       string `toml:"name"`
	Device     string `toml:"device"`
	Interface  string `toml:"interface"`
	Role       string `toml:"role"`
	DownKbit   int64  `toml:"down_kbit"`
	UpKbit     int64  `toml:"up_kbit"`
	Metered    *bool  `toml:"metered"`
	Weight     *int64 `toml:"weight"`
	Quota      string `toml:"quota"`
	QuotaSoft  string `toml:"quota_soft"`
	QuotaDaily string `toml:"quota_daily"`
	BillingDay *int64 `toml:"billing_day"`
	Hours      string `toml:"hours"`
}

type rawConcentrator struct {
	Name      string `toml:"name"`
	Address   string `toml:"address"`
	Port      *int64 `toml:"port"`
	Protocol  string `toml:"protocol"`
	FastOpen  string `toml:"fast_open"`
	User      string `toml:"user"`
	Password  string `toml:"password"`
	Priority  int64  `toml:"priority"`
	Weight    *int64 `toml:"weight"`
	Cookie    string `toml:"cookie"`
	Learn     string `toml:"learn"`
	LearnCode *int64 `toml:"learn_code"`
	Pipeline  bool   `toml:"pipeline"`
}

type rawPolicy struct {
	Mode               string   `toml:"mode"`
	OnConcentratorDown string   `toml:"on_concentrator_down"`
	OverflowEnter      *float64 `toml:"overflow_enter"`
	OverflowEnterFor   string   `toml:"overflow_enter_for"`
	OverflowLeave      *float64 `toml:"overflow_leave"`
	OverflowLeaveFor   string   `toml:"overflow_leave_for"`
	HoldUp             string   `toml:"hold_up"`
	Standby            string   `toml:"standby"`
	NeverWorse         *bool    `toml:"never_worse"`
	PathManager        string   `toml:"path_manager"`
}

type rawRelay struct {
	MaxSessions   *int64 `toml:"max_sessions"`
	MaxPerHost    *int64 `toml:"max_per_host"`
	IdleTimeout   string `toml:"idle_timeout"`
	StopWithin    string `toml:"stop_within"`
	DSCP          string `toml:"dscp"`
	NativeServers string `toml:"native_servers"`
	Race          string `toml:"race"`
	Warm          *int64 `toml:"warm"`
	Faithful      bool   `toml:"faithful"`
	ReceiveBuffer int64  `toml:"receive_buffer"`
}

type rawRule struct {
	Name      string   `toml:"name"`
	Src       []string `toml:"src"`
	Dst       []string `toml:"dst"`
	MAC       []string `toml:"mac"`
	DstPort   []string `toml:"dst_port"`
	DSCP      []int64  `toml:"dscp"`
	Domain    []string `toml:"domain"`
	Interface []string `toml:"interface"`
	Days      []string `toml:"days"`
	From      string   `toml:"from"`
	To        string   `toml:"to"`
	Action    string   `toml:"action"`
}
