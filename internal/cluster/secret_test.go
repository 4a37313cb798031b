package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsAreNeverPrinted(t *testing.T) {
	c := Config{
		SASL: &SASL{Mechanism: Plain, User: "ann", Password: "hunter2", Token: "hunter2"},
		TLS:  &TLS{Key: "hunter2"},
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "sasl", c.SASL, "password", c.SASL.Password)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "sasl", *c.SASL, "password", c.SASL.Password)
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(c.SASL.Password), fmt.Sprintf("%s %v %q", c.SASL.Password, c.SASL.Password, c.SASL.Password),
		fmt.Sprintf("%v %+v %#v", *c.SASL, *c.SASL, *c.SASL), fmt.Sprintf("%+v", *c.TLS),
		fmt.Sprintf("%x", c.SASL.Password), string(data), log.String(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("the secret shows in %q", text)
		}
	}
}
