package cluster

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Mechanisms that [SASL] knows, as Kafka names them.
const (
	Plain       = "PLAIN"
	Scram256    = "SCRAM-SHA-256"
	Scram512    = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// SASL settings.
type SASL struct {
	Mechanism string // one of the constants above
	User      string // PLAIN and SCRAM
	Password  Secret // PLAIN and SCRAM
	Token     Secret // OAUTHBEARER: a token that stays valid while procd runs
}

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case Plain, Scram256, Scram512:
		if s.User == "" || s.Password == "" {
			return nil, fmt.Errorf("%w: SASL %s needs a user and a password", ErrConfig, s.Mechanism)
		}
	case OAuthBearer:
		if s.Token == "" {
			return nil, fmt.Errorf("%w: SASL %s needs a token", ErrConfig, s.Mechanism)
		}
	}
	switch s.Mechanism {
	case Plain:
		return plain.Auth{User: s.User, Pass: string(s.Password)}.AsMechanism(), nil
	case Scram256:
		return scram.Auth{User: s.User, Pass: string(s.Password)}.AsSha256Mechanism(), nil
	case Scram512:
		return scram.Auth{User: s.User, Pass: string(s.Password)}.AsSha512Mechanism(), nil
	case OAuthBearer:
		return oauth.Auth{Token: string(s.Token)}.AsMechanism(), nil
	}
	return nil, fmt.Errorf("%w: SASL mechanism %q is not one of %s, %s, %s, %s",
		ErrConfig, s.Mechanism, Plain, Scram256, Scram512, OAuthBearer)
}
