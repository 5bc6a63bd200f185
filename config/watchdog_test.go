package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/ha"
)

// All of Patroni's spellings of the watchdog's mode mean what they mean there.
func TestWatchdog(t *testing.T) {
	settings := func(mode ha.WatchdogMode, margin time.Duration) ha.WatchdogSettings {
		return ha.WatchdogSettings{Mode: mode, SafetyMargin: margin}
	}
	for text, want := range map[string]ha.WatchdogSettings{
		"":                            settings(ha.WatchdogAutomatic, 5*time.Second),
		"watchdog: {mode: automatic}": settings(ha.WatchdogAutomatic, 5*time.Second),
		"watchdog: {mode: auto, safety_margin: -1}":     settings(ha.WatchdogAutomatic, -time.Second),
		"watchdog: {mode: required, safety_margin: 10}": settings(ha.WatchdogRequired, 10*time.Second),
		"watchdog: {mode: require}":                     settings(ha.WatchdogRequired, 5*time.Second),
		"watchdog: {mode: off}":                         settings(ha.WatchdogOff, 5*time.Second),
		"watchdog: {mode: 'off'}":                       settings(ha.WatchdogOff, 5*time.Second),
		"watchdog: {mode: disable}":                     settings(ha.WatchdogOff, 5*time.Second),
		"watchdog: {mode: disabled}":                    settings(ha.WatchdogOff, 5*time.Second),
		"watchdog: {mode: 'false'}":                     settings(ha.WatchdogOff, 5*time.Second),
		"watchdog: {mode: false}":                       settings(ha.WatchdogOff, 5*time.Second),
	} {
		s := dynamic(t, mustLoad(t, minimal+text+"\n"), `{"watchdog":{"mode":"required","safety_margin":1}}`) // the local file alone counts
		if diff := cmp.Diff(want, s.Watchdog); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if slices.ContainsFunc(s.Notices, func(n string) bool { return strings.Contains(n, "honoured") }) {
			t.Errorf("%q: %v", text, s.Notices)
		}
	}
	c := mustLoad(t, minimal+"watchdog: {device: /dev/watchdog1, driver: testing}\n")
	if diff := cmp.Diff(Watchdog{Mode: "automatic", Device: "/dev/watchdog1", SafetyMargin: 5, Driver: "testing"}, c.Watchdog); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"watchdog.device", "watchdog.driver"}, c.RestartNeeded(mustLoad(t, minimal))); diff != "" {
		t.Error(diff)
	}
}
