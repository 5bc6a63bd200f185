package config

// patchMap merges src into dest by Patroni's rules, which hold for configuration files, the environment and PATCH
// /config alike: null removes a key; a mapping is merged into a mapping; anything else replaces what is there if its
// text form differs. It says whether dest changed. dest may share values with src afterwards.
func patchMap(src, dest map[string]any) bool {
	changed := false
	for k, v := range src {
		old, exists := dest[k]
		switch {
		case v == nil:
			delete(dest, k)
			changed = changed || old != nil
		case !exists:
			dest[k] = v
			changed = true
		default:
			sub, isMap := v.(map[string]any)
			oldSub, wasMap := old.(map[string]any)
			switch {
			case isMap && wasMap:
				changed = patchMap(sub, oldSub) || changed
			case isMap, pyStr(old) != pyStr(v):
				dest[k] = v
				changed = true
			}
		}
	}
	return changed
}

// sameValue compares deeply: the same keys, and everything else equal by its text form.
func sameValue(a, b any) bool {
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if !aok || !bok {
		return aok == bok && pyStr(a) == pyStr(b)
	}
	if len(am) != len(bm) {
		return false
	}
	for k, v := range am {
		w, ok := bm[k]
		if !ok || !sameValue(v, w) {
			return false
		}
	}
	return true
}
