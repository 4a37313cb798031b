package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// members is who is in the job's group.
type members struct {
	protocol string
	all      []kadm.DescribedGroupMember
}

// members describes the group; a group that does not exist has no members.
func (p *Plane) members(ctx context.Context) (m members, err error) {
	err = retry(ctx, func() error {
		m, err = p.describe(ctx)
		return err
	})
	if err != nil {
		return members{}, fmt.Errorf("procd/control: describe group %s: %w", Group(p.settings.Job), err)
	}
	return m, nil
}

func (p *Plane) describe(ctx context.Context) (members, error) {
	name := Group(p.settings.Job)
	groups, err := p.adm.DescribeGroups(ctx, name)
	g, ok := groups[name]
	switch {
	case errors.Is(err, kerr.GroupIDNotFound), errors.Is(g.Err, kerr.GroupIDNotFound):
		return members{}, nil
	case err != nil:
		return members{}, err
	case !ok:
		return members{}, errors.New("the broker did not answer for it")
	}
	return members{protocol: g.Protocol, all: g.Members}, g.Err
}

// split tells the members on a seat from all others. Both are named by their
// instance id, or by their member id where they have none.
func (m members) split(seatPrefix string) (own, others []string) {
	for _, member := range m.all {
		id := memberName(member)
		if seatPrefix != "" && strings.HasPrefix(id, seatPrefix) {
			own = append(own, id)
		} else {
			others = append(others, id)
		}
	}
	return own, others
}

func memberName(m kadm.DescribedGroupMember) string {
	if m.InstanceID != nil {
		return *m.InstanceID
	}
	return m.MemberID
}

// leave removes static members from the group. Those that left meanwhile are
// fine; errors are per member (P2).
func (p *Plane) leave(ctx context.Context, reason string, instances ...string) error {
	if len(instances) == 0 {
		return nil
	}
	name := Group(p.settings.Job)
	left, err := p.adm.LeaveGroup(ctx, kadm.LeaveGroup(name).Reason(reason).InstanceIDs(instances...))
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("procd/control: remove members of group %s: %w", name, err)
	}
	for _, l := range left.Sorted() {
		if l.Err != nil && !errors.Is(l.Err, kerr.UnknownMemberID) {
			return fmt.Errorf("procd/control: remove member %s of group %s: %w", l.InstanceID, name, l.Err)
		}
	}
	return nil
}

// instances are the instance ids of the static members.
func (m members) instances() []string {
	var ids []string
	for _, member := range m.all {
		if member.InstanceID != nil {
			ids = append(ids, *member.InstanceID)
		}
	}
	return ids
}
