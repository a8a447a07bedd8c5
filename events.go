// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/policy"
)

// event is something to be told over ubus, without having been asked: as the event spillway.KIND and as a notification KIND of the object.
type event struct {
	kind string // link, plan, quota
	data any    // Transition, PlanEvent, QuotaEvent
}

// PlanEvent tells that the policy's sentence changed: why the mobile line is, or is not, in use.
type PlanEvent struct {
	At           time.Time `json:"at"`
	Why          string    `json:"why"`
	First        string    `json:"first"` // link; "": none
	OverflowDown bool      `json:"overflow_down"`
	OverflowUp   bool      `json:"overflow_up"`
}

// QuotaEvent tells that a link's quota reached something new.
type QuotaEvent struct {
	At      time.Time    `json:"at"`
	Link    string       `json:"link"`
	Reached string       `json:"reached"` // "" (within all), "forecast" (the month's end will be above the limit), "daily", "soft", "limit"
	Quota   *QuotaStatus `json:"quota"`
}

// told is what was last told of plan and quotas.
type told struct {
	why    string
	first  int
	quotas map[string]quotaTold // by link
	looked time.Time            // at the quotas
}

type quotaTold struct {
	reached string
	period  time.Time
}

// quotaEvery is how often the quotas are looked at: a forecast costs more than the rest of a turn.
const quotaEvery = time.Second

// tellPlan tells a new sentence, and a new first link.
func (h *house) tellPlan(now time.Time) {
	if h.plan.Why == h.told.why && h.plan.First == h.told.first {
		return
	}
	h.told.why, h.told.first = h.plan.Why, h.plan.First
	first := ""
	if h.plan.First >= 0 {
		first = h.cfg.Links[h.plan.First].Name
	}
	h.tell(event{"plan", PlanEvent{At: now, Why: h.plan.Why, First: first, OverflowDown: h.plan.OverflowDown, OverflowUp: h.plan.OverflowUp}})
}

// tellQuotas tells which limits were reached, or are no longer.
func (h *house) tellQuotas(now time.Time) {
	if now.Sub(h.told.looked) < quotaEvery {
		return
	}
	h.told.looked = now
	for i := range h.cfg.Links {
		q, ok := h.machine.Quota(i, now)
		if !ok {
			continue
		}
		if h.told.quotas == nil {
			h.told.quotas = map[string]quotaTold{}
		}
		before := h.told.quotas[q.Link]
		next := quotaTold{reached(&q), q.Period}
		if next.reached == "" && before.reached == "forecast" && before.period.Equal(next.period) {
			continue // a forecast wavers: once a month is enough
		}
		h.told.quotas[q.Link] = next
		if next.reached != before.reached {
			h.tell(event{"quota", QuotaEvent{At: now, Link: q.Link, Reached: next.reached, Quota: quotaStatus(&q)}})
		}
	}
}

// reached names the hardest that a quota has reached.
func reached(q *policy.QuotaStatus) string {
	switch {
	case q.Limit > 0 && q.Used >= q.Limit:
		return "limit"
	case q.Soft > 0 && q.Used >= q.Soft:
		return "soft"
	case q.Daily > 0 && q.Today >= q.Daily:
		return "daily"
	case q.Limit > 0 && q.Forecast > q.Limit:
		return "forecast"
	}
	return ""
}

func quotaStatus(q *policy.QuotaStatus) *QuotaStatus {
	return &QuotaStatus{Used: q.Used, Limit: q.Limit, Soft: q.Soft, Today: q.Today, Daily: q.Daily, PeriodStart: q.Period, PeriodEnd: q.End,
		Forecast: q.Forecast, Exhausted: q.Limit > 0 && q.Used >= q.Limit}
}
