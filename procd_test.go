package procd_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/procd/procd"
	"github.com/procd/procd/codec"
	"github.com/procd/procd/internal/embedded"
	"github.com/procd/procd/topology"
)

type event struct {
	Room int `json:"room"`
}

type count struct {
	Room int   `json:"room"`
	N    int64 `json:"n"`
}

// counting counts the events of each room.
func counting() *topology.Job {
	job := topology.New("counting")
	events := topology.From(job, "events", codec.JSON[event](), topology.PartitionedBy(func(e event) int { return e.Room }))
	counts := topology.Process(events, "count", func(c topology.Ctx[int64, count], e event) {
		c.Set(c.State() + 1)
		c.Emit(count{e.Room, c.State()})
	})
	topology.To(counts, "counts", codec.JSON[count]())
	return job
}

func TestRun(t *testing.T) {
	broker, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	for _, topic := range []string{"events", "counts"} {
		if err := broker.CreateTopic(topic, 1); err != nil {
			t.Fatal(err)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.DefaultProduceTopic("events"),
		kgo.ConsumeTopics("counts"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	// Twice: the second run goes on with the state and the seat of the first.
	data := t.TempDir()
	for _, want := range []string{`{"room":7,"n":1}`, `{"room":7,"n":2}`} {
		running, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- procd.Run(running, counting(), procd.Options{
				Brokers: []string{broker.Addr()}, Data: data, Admin: "off", Logger: slog.New(slog.DiscardHandler),
			})
		}()
		record := kgo.KeyStringRecord("7", `{"room":7}`)
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			t.Fatal(err)
		}
		fetches := client.PollRecords(ctx, 1)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		if got := string(fetches.Records()[0].Value); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		end()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

// A job that is wrong is not started, and no broker is needed to say so.
func TestRunInvalid(t *testing.T) {
	job := topology.New("Not A Name")
	if err := procd.Run(t.Context(), job, procd.Options{Data: t.TempDir(), Admin: "off"}); err == nil {
		t.Error("no error")
	}
}
