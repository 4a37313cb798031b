package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// createTimeout is what the controller gets for creating or deleting topics.
const createTimeout = 15_000 // ms

// errConflict says that a topic was, or may be, there when it was to be created:
// somebody else decides at this moment, or the broker did not answer in time.
// Either way, what is there is left over for the next round.
var errConflict = errors.New("procd/control: a topic to be created exists already")

// metadata asks a broker; kadm would answer from the client's cache, which a
// decision must not rest on. No names means all topics.
func (p *Plane) metadata(ctx context.Context, names ...string) ([]kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return nil, fmt.Errorf("procd/control: metadata: %w", err)
	}
	return slices.DeleteFunc(resp.Topics, func(t kmsg.MetadataResponseTopic) bool { return t.Topic == nil }), nil
}

// find returns those of the named topics that exist.
func (p *Plane) find(ctx context.Context, names ...string) (map[string]foundTopic, error) {
	found := make(map[string]foundTopic)
	if len(names) == 0 {
		return found, nil
	}
	topics, err := p.metadata(ctx, names...)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("procd/control: topic %s: %w", *t.Topic, err)
		}
		found[*t.Topic] = foundTopic{ID: TopicID(t.TopicID), Partitions: int32(len(t.Partitions))}
	}
	return found, nil
}

// generationTopics are all topics of all generations of the job.
func (p *Plane) generationTopics(ctx context.Context) ([]TopicRef, error) {
	all, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	var topics []TopicRef
	for _, t := range all {
		if _, ours := topicGeneration(p.settings.Job, *t.Topic); ours && t.ErrorCode == 0 {
			topics = append(topics, TopicRef{Name: *t.Topic, ID: TopicID(t.TopicID), Partitions: int32(len(t.Partitions))})
		}
	}
	slices.SortFunc(topics, func(a, b TopicRef) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

// cleanupPolicy and retention are settings of topics, by Kafka's names.
const (
	cleanupPolicy = "cleanup.policy"
	retention     = "retention.ms"
)

// topicSettings asks for the settings of topics. Those of which the broker does
// not tell this user stay unknown.
func (p *Plane) topicSettings(ctx context.Context, topics ...string) (map[string]map[string]string, error) {
	configs, err := p.adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("procd/control: topic configs: %w", err)
	}
	settings := make(map[string]map[string]string)
	for _, rc := range configs {
		switch {
		case errors.Is(rc.Err, kerr.TopicAuthorizationFailed), errors.Is(rc.Err, kerr.UnknownTopicOrPartition):
			continue
		case rc.Err != nil:
			return nil, fmt.Errorf("procd/control: configs of topic %s: %w", rc.Name, rc.Err)
		}
		settings[rc.Name] = make(map[string]string)
		for _, c := range rc.Configs {
			settings[rc.Name][c.Key] = c.MaybeValue()
		}
	}
	return settings, nil
}

// create creates topics in one request and returns them with their ids, or
// [errConflict] if one exists. Replication is the broker's default (P26).
func (p *Plane) create(ctx context.Context, specs []topicSpec) ([]TopicRef, error) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = createTimeout
	for _, s := range specs {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = s.name, s.partitions, -1
		for k, v := range s.configs {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = k, kadm.StringPtr(v)
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return nil, fmt.Errorf("procd/control: create topics: %w", err)
	}
	return p.created(specs, resp)
}

func (p *Plane) created(specs []topicSpec, resp *kmsg.CreateTopicsResponse) ([]TopicRef, error) {
	refs := make([]TopicRef, 0, len(specs))
	for _, s := range specs {
		i := slices.IndexFunc(resp.Topics, func(t kmsg.CreateTopicsResponseTopic) bool { return t.Topic == s.name })
		if i < 0 {
			return nil, fmt.Errorf("procd/control: create topic %s: the broker did not answer for it", s.name)
		}
		t := resp.Topics[i]
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.TopicAlreadyExists), errors.Is(err, kerr.RequestTimedOut):
			return nil, fmt.Errorf("%w: %s: %w", errConflict, s.name, err)
		case err != nil:
			return nil, fmt.Errorf("procd/control: create topic %s: %w%s", s.name, err, detail(t.ErrorMessage))
		}
		refs = append(refs, TopicRef{Name: s.name, ID: TopicID(t.TopicID), Partitions: s.partitions})
	}
	p.warnReplication(resp)
	return refs, nil
}

func detail(message *string) string {
	if message == nil || *message == "" {
		return ""
	}
	return " (" + *message + ")"
}

// warnReplication says, once, if the broker's defaults can lose state (P26).
func (p *Plane) warnReplication(resp *kmsg.CreateTopicsResponse) {
	for _, t := range resp.Topics {
		if warning := replicationWarning(t); warning != "" {
			p.warned.Do(func() { p.settings.Logger.Warn(warning, "topic", t.Topic) })
			return
		}
	}
}

func replicationWarning(t kmsg.CreateTopicsResponseTopic) string {
	if t.ReplicationFactor > 0 && t.ReplicationFactor < 3 {
		return fmt.Sprintf("internal topics get %d replicas; set default.replication.factor=3 on the brokers to survive the loss of one", t.ReplicationFactor)
	}
	for _, c := range t.Configs {
		if c.Name == "min.insync.replicas" && c.Value != nil && *c.Value == "1" {
			return "internal topics accept writes with one replica in sync; set min.insync.replicas=2 on the brokers"
		}
	}
	return ""
}

// remove deletes topics by id, so that a topic created meanwhile under the
// same name is not touched. Topics that are gone already are fine.
func (p *Plane) remove(ctx context.Context, topics []TopicRef) error {
	if len(topics) == 0 {
		return nil
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = createTimeout
	names := make(map[TopicID]string, len(topics))
	for _, ref := range topics {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.TopicID = ref.ID
		req.Topics = append(req.Topics, t)
		names[ref.ID] = ref.Name
	}
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return fmt.Errorf("procd/control: delete topics: %w", err)
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if err != nil && !errors.Is(err, kerr.UnknownTopicID) {
			return fmt.Errorf("procd/control: delete topic %s: %w%s", names[TopicID(t.TopicID)], err, detail(t.ErrorMessage))
		}
	}
	return nil
}

// ensureControlTopic creates the control topic if it is missing. Another
// process doing the same at the same time is fine.
func (p *Plane) ensureControlTopic(ctx context.Context, exists bool) error {
	if exists {
		return nil
	}
	_, err := p.create(ctx, []topicSpec{{ControlTopic(p.settings.Job), 1, controlConfigs()}})
	if errors.Is(err, errConflict) {
		return nil
	}
	return err
}

// missing names the topics that the user has to create.
func missing(topics []string, found map[string]foundTopic) error {
	absent := slices.DeleteFunc(slices.Clone(topics), func(t string) bool {
		_, ok := found[t]
		return ok
	})
	if len(absent) == 0 {
		return nil
	}
	create := make([]string, len(absent))
	for i, t := range absent {
		create[i] = "kafka-topics.sh --bootstrap-server HOST:PORT --create --partitions N --topic " + t
	}
	return fmt.Errorf("%w: %s; mend the name in the job, or: %s",
		ErrTopicMissing, strings.Join(absent, ", "), strings.Join(create, " && "))
}
