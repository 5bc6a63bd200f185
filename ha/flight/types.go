package flight

import (
	"fmt"
	"reflect"

	"github.com/tanist-ha/tanist/ha"
)

// The types that stand in an entry behind an interface, by the name under which they are written. A test holds these lists to the source
// of package ha.
var (
	events = index[ha.Event](
		ha.Tick{}, ha.Hinted{}, ha.Exited{}, ha.Disturbed{}, ha.FenceLost{}, ha.ClockJumped{}, ha.ShutdownAsked{}, ha.SettingsChanged{}, ha.Commanded{}, ha.CommandDropped{},
		ha.Begun{}, ha.Loaded{}, ha.SessionKept{}, ha.Acquired{}, ha.Renewed{}, ha.Released{}, ha.Claimed{}, ha.Wrote{}, ha.Observed{},
		ha.TaskPhase{}, ha.TaskDone{}, ha.Configured{}, ha.SlotsEnsured{}, ha.PeerAnswered{}, ha.FailsafeAnswered{}, ha.FenceArmed{}, ha.FenceDisarmed{},
		ha.WatchdogChecked{}, ha.WatchdogArmed{}, ha.WatchdogDisarmed{},
	)
	actions = index[ha.Action](
		ha.LoadCluster{}, ha.KeepSession{}, ha.AcquireKey{}, ha.RenewKey{}, ha.ReleaseKey{}, ha.Publish{}, ha.ClaimInitialize{},
		ha.WriteInitialize{}, ha.DropInitialize{}, ha.WriteConfig{}, ha.ClearFailover{}, ha.WriteHistory{}, ha.RunTask{}, ha.CancelTask{},
		ha.GiveUpRequest{},
		ha.KillServer{}, ha.Observe{}, ha.Configure{}, ha.EnsureSlots{}, ha.PollPeer{}, ha.AwaitPeer{}, ha.AskFailsafe{}, ha.ArmFence{}, ha.DisarmFence{},
		ha.CheckWatchdog{}, ha.ArmWatchdog{}, ha.DisarmWatchdog{},
		ha.EndHandover{}, ha.ForgetClaim{}, ha.Reply{}, ha.Quit{},
	)
	commands = index[ha.Command](ha.Look{}, ha.Await{}, ha.Failsafe{})

	unions = map[reflect.Type]map[string]reflect.Type{
		reflect.TypeFor[ha.Event]():   events,
		reflect.TypeFor[ha.Action]():  actions,
		reflect.TypeFor[ha.Command](): commands,
	}
)

func index[T any](values ...T) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, v := range values {
		m[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	return m
}

// tagOf is the name under which a value of the interface type is written.
func tagOf(union reflect.Type, t reflect.Type) (string, error) {
	if unions[union][t.Name()] != t {
		return "", fmt.Errorf("%s is not a known %s", t, union.Name())
	}
	return t.Name(), nil
}
