package it

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests here produce the refusals that take somebody else, or bad luck, and
// type what the messages say.

// strangers is how long somebody who is not procd's stays in a group without a
// word.
const strangers = 10 * time.Minute

// joinGroup makes a stranger a static member of the job's group.
func (j *job) joinGroup(instance string) {
	j.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(j.kafka.Brokers...))
	must(j.t, err)
	defer cl.Close()
	ctx := within(j.t, time.Minute)
	metadata := kmsg.NewConsumerMemberMetadata()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.InstanceID, join.ProtocolType = j.group(), &instance, "consumer"
	join.SessionTimeoutMillis = int32(strangers.Milliseconds())
	join.RebalanceTimeoutMillis = join.SessionTimeoutMillis
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	var joined *kmsg.JoinGroupResponse
	eventually(j.t, time.Minute, func() (err error) { // a worker that was killed while it joined may still be there
		if joined, err = join.RequestWith(ctx, cl); err != nil {
			return err
		}
		return kerr.ErrorForCode(joined.ErrorCode)
	})
	assignment := kmsg.NewConsumerMemberAssignment()
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.Generation, sync.MemberID, sync.InstanceID = j.group(), joined.Generation, joined.MemberID, &instance
	sync.ProtocolType, sync.Protocol = joined.ProtocolType, joined.Protocol
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: assignment.AppendTo(nil)}}
	synced, err := sync.RequestWith(ctx, cl)
	must(j.t, err)
	must(j.t, kerr.ErrorForCode(synced.ErrorCode))
}

// TestGroupStillHasMembers has somebody in the group of a job that does not run.
func TestGroupStillHasMembers(t *testing.T) {
	t.Parallel()
	j := newJudged(t, "members")
	file := filepath.Base(j.job.file)
	const who = `\(one member of the group: somebody\); `
	j.joinGroup("somebody")
	never := judged{newJob(t, j.kafka, options{Name: "never-" + run.id, Template: judgedYAML, Partitions: 2}), ""}
	never.joinGroup("somebody")
	// All wait for members to expire, so they do at the same time.
	resume := j.beside("procd start --resume --data resume " + file)
	from := j.beside("procd start --savepoint " + j.at + " --data from " + file)
	first := never.beside("procd start " + file)
	j.wantRefused(resume, "the job was stopped, but processes of it are still running "+who+"procd stop "+j.Name+" again removes them; then procd start --resume "+file)
	j.wantRefused(from, "the job does not run, but its group still has members "+who+"procd stop "+j.Name+" again removes them; then start again")
	never.wantRefused(first, "the job was never started, but its group has members "+who+"they are not procd's: end them, or rename the job")
	j.succeeds("procd stop " + j.Name)
	j.runs("procd start --savepoint " + j.at + " " + file)

	j.succeeds("procd reset " + j.Name + " --yes")
	j.joinGroup("somebody")
	j.refused("procd start "+file, "the job was reset, but processes of it are still running "+who+"end them, then start again")
	left, err := j.kafka.Admin.LeaveGroup(t.Context(), kadm.LeaveGroup(j.group()).InstanceIDs("somebody"))
	must(t, err)
	must(t, left.Error())
	j.runs("procd start " + file)
}

// TestSavepointGone removes savepoints that a start then names.
func TestSavepointGone(t *testing.T) {
	t.Parallel()
	j := newJudged(t, "gone")
	file := filepath.Base(j.job.file)
	dir := filepath.Join(filepath.Dir(j.job.file), "savepoints", j.at)

	// By hand, although the job is stopped at it.
	must(t, os.Rename(dir, dir+".away"))
	resume := j.refused("procd start --savepoint latest "+file,
		"the job was stopped with savepoint "+j.at+`, which is not there any more; continue with (procd start --resume \S+), or put it back`)
	must(t, os.Rename(dir+".away", dir))
	p := j.launched("procd start --savepoint latest " + file)

	// In order, once the job does without it.
	j.eventually(time.Minute, func() error {
		if status := j.output("status", j.Name); !strings.Contains(status, "is detached from it") {
			return fmt.Errorf("status: %s", status)
		}
		return nil
	})
	j.waitArrived(p)
	newer := strings.Fields(j.succeeds("procd savepoint-and-stop " + j.Name))[1]
	j.ends(p, 20*time.Second)
	j.succeeds("procd savepoint-rm " + j.at)
	again := j.refused("procd start --savepoint "+j.at+" --again "+file,
		"savepoint "+j.at+" was removed; the job is at generation 2, from savepoint "+j.at+`, STOPPED; continue with (procd start --resume \S+), or start from one that procd savepoints lists`)
	if again != resume {
		t.Errorf("%q, and %q", again, resume)
	}
	j.runs(again)
	p = j.launched("procd start --savepoint " + newer + " --again " + file)
	j.refused("procd start --data other --savepoint "+j.at+" "+file,
		"savepoint "+j.at+" was removed; the job is at generation 3, from savepoint "+newer+", RUNNING; start without --savepoint, or from one that procd savepoints lists")
	j.launched("procd start --data other " + file)
	j.output("stop", j.Name)
	j.ends(p, 20*time.Second)
}

// TestRunEndsBeforeTheAnswer stops a job whose only process is asleep, while
// somebody waits for it.
func TestRunEndsBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	j := newJudged(t, "asleep")
	p := j.launched("procd start --resume " + filepath.Base(j.job.file))
	j.waitWorkers(1)
	must(t, p.Pause())
	save := j.begun("procd savepoint "+j.Name, "waiting for the job to take it up")
	get := j.beside("procd get " + j.Name + " seen 1")
	j.eventually(time.Minute, func() error { // it has asked
		for _, r := range j.read("procd." + j.Name + ".control") {
			if strings.HasPrefix(string(r.Key), "question/") {
				return nil
			}
		}
		return fmt.Errorf("no question yet: %s", get.Stderr)
	})
	stop := j.beside("procd stop " + j.Name)
	j.wantRefused(save, `run 2 of `+j.Name+`, which was asked for savepoint \S+, ended before it was taken; procd history `+j.Name+` says how`)
	j.wantRefused(get, `run 2 of `+j.Name+`, which was asked, ended before it answered; procd history `+j.Name+` says how`)
	if said := j.succeeds("procd history " + j.Name); !strings.Contains(said, "STOPPED") {
		t.Errorf("history says %s", said)
	}
	must(t, p.Continue())
	if code := j.ends(stop, time.Minute); code != 0 {
		t.Errorf("stop: exit code %d, %s", code, stop.Stderr)
	}
	if code := j.ends(p, time.Minute); code != 0 {
		t.Errorf("the process that was asleep ended with %d: %s", code, p.Stderr.Tail(3))
	}
}
