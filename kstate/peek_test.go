package kstate

import "testing"

// P24: a key's first touch by the job is where its partition is checked. That
// somebody asked for it before is none.
func TestP24PeekIsNoFirstTouch(t *testing.T) {
	env := newTestEnv(t, EnvOptions{})
	log := &changelog{}
	s := openStore(t, env, counterType{}, log)
	set(t, s, "k", counter{N: 7, Name: "x"})
	commit(t, s, log)
	closeStore(t, s, true)
	s = openStore(t, env, counterType{}, log)
	value, err := s.Peek([]byte("k"))
	if version, data, perr := ParseValue(value); err != nil || perr != nil || version != 1 || string(data) != "\x0ex" {
		t.Errorf("Peek: version %d, %x, %v, %v", version, data, err, perr)
	}
	if _, first, err := s.Load([]byte("k")); !first || err != nil {
		t.Errorf("Load after Peek: first %v, %v", first, err)
	}
	closeStore(t, s, true)
}
