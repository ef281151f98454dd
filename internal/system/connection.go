package system

import "fmt"

// Keys are the references to the keys of payloads, the one that seals first.
func (c Connection) Keys() []SecretRef {
	if c.PayloadKey != "" {
		return []SecretRef{c.PayloadKey}
	}
	return c.PayloadKeys
}

func (v *validation) connection() {
	c := v.Temporal
	if c.PayloadKey != "" && len(c.PayloadKeys) > 0 {
		v.add("temporal.payload_key", "keep one: payload_keys while keys change, the new one first", "payload_key and payload_keys exclude each other")
	}
	seen := map[SecretRef]bool{}
	for i, ref := range c.PayloadKeys {
		at := payloadKeyPath(i)
		if v.required(at, string(ref)) && seen[ref] {
			v.add(at, "keep one of them", "this key stands twice")
		}
		seen[ref] = true
	}
}

func payloadKeyPath(i int) string { return fmt.Sprintf("temporal.payload_keys[%d]", i) }
