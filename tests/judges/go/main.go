// Judge: what franz-go sees of a broker, one JSON line a step. The broker's address is the only argument.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Ends only what hangs.
const patience = 150 * time.Second

var (
	broker string
	ctx    context.Context
)

func main() {
	broker = os.Args[1]
	patient, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ctx = patient
	client := open()
	defer client.Close()
	admin := kadm.NewClient(client)
	topics(admin)
	codecs(admin)
	times(client, admin)
	groups(client, admin)
	staticMember(admin)
	transactions(admin)
	groupTransaction(admin)
	fencing()
	ends(admin)
}

func open(more ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker)}, more...)...)
	must(err)
	return client
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func tell(step string, seen any) {
	line, err := json.Marshal(map[string]any{step: seen})
	must(err)
	fmt.Println(string(line))
}

// word is the protocol's name of an error.
func word(err error) string {
	var known *kerr.Error
	switch {
	case err == nil:
		return "NONE"
	case errors.As(err, &known):
		return known.Message
	default:
		return err.Error()
	}
}

func topics(admin *kadm.Client) {
	setting := "compact"
	created, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": &setting}, "go-settings")
	tell("create", []any{word(err), created.NumPartitions, created.ReplicationFactor})
	_, err = admin.CreateTopic(ctx, 1, 1, nil, "go-settings")
	tell("create again", word(err))
	_, err = admin.CreateTopic(ctx, 1, 1, nil, "go settings")
	tell("create a wrong name", word(err))
	_, err = admin.CreateTopic(ctx, 1, 3, nil, "go-three")
	tell("create three replicas", word(err))
	tried, err := admin.ValidateCreateTopics(ctx, 1, 1, nil, "go-tried")
	must(err)
	tell("only try", word(tried["go-tried"].Err))

	for _, set := range []int{3, 2} {
		grown, err := admin.UpdatePartitions(ctx, set, "go-settings")
		must(err)
		tell(fmt.Sprintf("%d partitions", set), word(grown["go-settings"].Err))
	}
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: kadm.StringPtr("delete")},
		{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("86400000")},
	}, "go-settings")
	must(err)
	tell("alter", word(altered[0].Err))
	settings(admin, "compact,delete DYNAMIC_TOPIC_CONFIG, 86400000 DYNAMIC_TOPIC_CONFIG")
	altered, err = admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")},
		{Op: kadm.DeleteConfig, Name: "retention.ms"},
	}, "go-settings")
	must(err)
	tell("alter back", word(altered[0].Err))
	settings(admin, "delete DYNAMIC_TOPIC_CONFIG, 604800000 DEFAULT_CONFIG")
	altered, err = admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("long")},
	}, "go-settings")
	must(err)
	tell("alter to nonsense", word(altered[0].Err))
	listed, err := admin.ListTopics(ctx, "go-settings", "go-tried")
	must(err)
	for _, topic := range listed.Sorted() {
		tell("list "+topic.Topic, []any{word(topic.Err), topic.Partitions.Numbers(), topic.IsInternal})
	}
}

// again lets some time pass if what was seen is not what is wanted yet, for states that no event tells of.
func again(wanted string, seen string) bool {
	if wanted == seen {
		return false
	}
	select {
	case <-ctx.Done():
		panic(fmt.Sprintf("saw %s and waited for %s", seen, wanted))
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// settings waits until the topic has these: Kafka's brokers hear of a change after it was answered, and tell nobody.
func settings(admin *kadm.Client, wanted string) {
	for {
		described, err := admin.DescribeTopicConfigs(ctx, "go-settings")
		must(err)
		var seen []string
		for _, config := range described[0].Configs {
			if config.Key == "cleanup.policy" || config.Key == "retention.ms" {
				seen = append(seen, config.MaybeValue()+" "+config.Source.String())
			}
		}
		if again(wanted, strings.Join(seen, ", ")) {
			continue
		}
		tell("settings", wanted)
		return
	}
}

// value differs from record to record and can be compressed.
func value(index int) string {
	return strings.Repeat(fmt.Sprintf("frame %d ", index), 100)
}

func codecs(admin *kadm.Client) {
	_, err := admin.CreateTopic(ctx, 1, 1, nil, "go-codecs")
	must(err)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		client := open(kgo.ProducerBatchCompression(codecs[name]), kgo.ProducerLinger(20*time.Millisecond))
		var records []*kgo.Record
		for index := range 20 {
			records = append(records, &kgo.Record{
				Topic: "go-codecs", Key: []byte(name), Value: []byte(value(index)),
				Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(name)}, {Key: "none"}},
			})
		}
		must(client.ProduceSync(ctx, records...).FirstErr())
		client.Close()
		tell("produce "+name, []any{records[0].Offset, records[19].Offset})
	}
	client := open(kgo.ConsumeTopics("go-codecs"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	intact := map[string]int{}
	for index, record := range take(client, 100) {
		headers := fmt.Sprintf("%s=%s %s=%s", record.Headers[0].Key, record.Headers[0].Value,
			record.Headers[1].Key, record.Headers[1].Value)
		whole := int64(index) == record.Offset && string(record.Value) == value(index%20) &&
			headers == fmt.Sprintf("codec=%s none=", record.Key)
		if whole {
			intact[fmt.Sprintf("%s codec %d", record.Key, record.Attrs.CompressionType())]++
		}
	}
	tell("consume", intact)
}

// take reads so many records.
func take(client *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollRecords(ctx, count-len(records))
		must(fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

func times(client *kgo.Client, admin *kadm.Client) {
	_, err := admin.CreateTopic(ctx, 1, 1, nil, "go-times")
	must(err)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, seconds := range []int{0, 30, 10, 20} {
		stamp := begin.Add(time.Duration(seconds) * time.Second)
		record := &kgo.Record{Topic: "go-times", Timestamp: stamp, Value: []byte("time")}
		must(client.ProduceSync(ctx, record).FirstErr())
	}
	offset := func(name string, listed kadm.ListedOffsets, err error) {
		must(err)
		found, _ := listed.Lookup("go-times", 0)
		after := found.Timestamp
		if after >= 0 {
			after -= begin.UnixMilli()
		}
		tell(name, []any{word(found.Err), found.Offset, after, found.LeaderEpoch >= 0})
	}
	for _, seconds := range []int{-1, 5, 15, 30, 31} {
		stamp := begin.Add(time.Duration(seconds) * time.Second)
		listed, err := admin.ListOffsetsAfterMilli(ctx, stamp.UnixMilli(), "go-times")
		offset(fmt.Sprintf("offset at %d s", seconds), listed, err)
	}
	listed, err := admin.ListMaxTimestampOffsets(ctx, "go-times")
	offset("offset of the latest time", listed, err)
	listed, err = admin.ListEndOffsets(ctx, "go-times")
	offset("end", listed, err)
	for _, before := range []int64{2, 9} {
		cut := kadm.Offsets{}
		cut.AddOffset("go-times", 0, before, -1)
		deleted, err := admin.DeleteRecords(ctx, cut)
		must(err)
		answer, _ := deleted.Lookup("go-times", 0)
		tell(fmt.Sprintf("delete before %d", before), []any{word(answer.Err), answer.LowWatermark})
	}
	listed, err = admin.ListStartOffsets(ctx, "go-times")
	offset("start", listed, err)
	early := open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"go-times": {0: kgo.NewOffset().At(1)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer early.Close()
	tell("read what was deleted", take(early, 1)[0].Offset)
}

// settled waits until the group's members have so many partitions each; nothing else tells a looker-on of it.
func settled(admin *kadm.Client, group string, wanted ...int) kadm.DescribedGroup {
	for {
		// A broker that has just begun has no coordinator for a moment; such an answer has no members.
		described, _ := admin.DescribeGroups(ctx, group)
		seen := described[group]
		var counts []int
		for _, member := range seen.Members {
			count := 0
			if assigned, is := member.Assigned.AsConsumer(); is {
				for _, topic := range assigned.Topics {
					count += len(topic.Partitions)
				}
			}
			counts = append(counts, count)
		}
		sort.Ints(counts)
		steady := seen.State == "Stable" || seen.State == "Empty" && len(wanted) == 0
		if steady && fmt.Sprint(counts) == fmt.Sprint(wanted) {
			return seen
		}
		again(fmt.Sprintf("group %s of %v", group, wanted), fmt.Sprintf("%s, %v", seen.State, counts))
	}
}

func tellGroup(step string, group kadm.DescribedGroup) {
	instances := []string{}
	for _, member := range group.Members {
		if member.InstanceID != nil {
			instances = append(instances, *member.InstanceID)
		}
	}
	tell(step, []any{group.State, group.ProtocolType, group.Protocol, len(group.Members), instances})
}

func join(topic string, group string, more ...kgo.Opt) *kgo.Client {
	return open(append([]kgo.Opt{
		kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(300 * time.Millisecond),
	}, more...)...)
}

func partitionsOf(records []*kgo.Record) []int32 {
	seen := map[int32]bool{}
	for _, record := range records {
		seen[record.Partition] = true
	}
	var partitions []int32
	for partition := range seen {
		partitions = append(partitions, partition)
	}
	return partitions
}

func groups(client *kgo.Client, admin *kadm.Client) {
	_, err := admin.CreateTopic(ctx, 4, 1, nil, "go-group")
	must(err)
	placed := open(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer placed.Close()
	for index := range int32(40) {
		record := &kgo.Record{Topic: "go-group", Partition: index % 4, Value: []byte("member")}
		must(placed.ProduceSync(ctx, record).FirstErr())
	}
	first := join("go-group", "go-group")
	tellGroup("one member", settled(admin, "go-group", 4))
	second := join("go-group", "go-group")
	tellGroup("two members", settled(admin, "go-group", 2, 2))
	all := map[int32]bool{}
	for _, reader := range []*kgo.Client{first, second} {
		records := take(reader, 20)
		must(reader.CommitRecords(ctx, records...))
		for _, partition := range partitionsOf(records) {
			all[partition] = true
		}
	}
	tell("partitions of both", len(all))
	tellOffsets(admin)
	deleted, err := admin.DeleteGroups(ctx, "go-group", "go-nobody")
	must(err)
	tell("delete a living group", []string{word(deleted["go-group"].Err), word(deleted["go-nobody"].Err)})
	second.Close()
	tellGroup("one has left", settled(admin, "go-group", 4))
	for index := range int32(4) {
		record := &kgo.Record{Topic: "go-group", Partition: index, Value: []byte("more")}
		must(placed.ProduceSync(ctx, record).FirstErr())
	}
	tell("the other reads on", len(partitionsOf(take(first, 4))))
	lags, err := admin.Lag(ctx, "go-group")
	must(err)
	tell("lag", lags["go-group"].Lag.Total())
	first.Close()
	tellGroup("nobody", settled(admin, "go-group"))
	moved := kadm.Offsets{}
	moved.AddOffset("go-group", 1, 3, -1)
	must(admin.CommitAllOffsets(ctx, "go-group", moved))
	forgotten, err := admin.DeleteOffsets(ctx, "go-group", kadm.TopicsSet{"go-group": {2: {}}})
	must(err)
	tell("delete an offset", word(forgotten["go-group"][2]))
	tellOffsets(admin)
	deleted, err = admin.DeleteGroups(ctx, "go-group")
	must(err)
	tell("delete", word(deleted["go-group"].Err))
}

func tellOffsets(admin *kadm.Client) {
	offsets, err := admin.FetchOffsets(ctx, "go-group")
	must(err)
	seen := [][]int64{}
	for _, offset := range offsets.Sorted() {
		seen = append(seen, []int64{int64(offset.Partition), offset.At})
	}
	tell("committed", seen)
}

func staticMember(admin *kadm.Client) {
	instance := kgo.InstanceID("camera")
	member := join("go-group", "go-static", instance)
	before := settled(admin, "go-static", 4)
	tellGroup("static member", before)
	member.Close()
	tellGroup("static member is away", settled(admin, "go-static", 4))
	member = join("go-group", "go-static", instance)
	must(member.CommitRecords(ctx, take(member, 1)...))
	after := settled(admin, "go-static", 4)
	tellGroup("static member is back", after)
	tell("as another member", after.Members[0].MemberID != before.Members[0].MemberID)
	member.Close()
	left, err := admin.LeaveGroup(ctx, kadm.LeaveGroup("go-static").InstanceIDs("camera"))
	must(err)
	tell("remove it", word(left["camera"].Err))
	tellGroup("static member has left", settled(admin, "go-static"))
}

func read(topic string, count int, more ...kgo.Opt) []string {
	client := open(append([]kgo.Opt{
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, more...)...)
	defer client.Close()
	var seen []string
	for _, record := range take(client, count) {
		seen = append(seen, fmt.Sprintf("%d %s", record.Offset, record.Value))
	}
	return seen
}

func transactions(admin *kadm.Client) {
	_, err := admin.CreateTopic(ctx, 1, 1, nil, "go-transactions")
	must(err)
	client := open(kgo.TransactionalID("go-transactions"), kgo.DefaultProduceTopic("go-transactions"))
	defer client.Close()
	for index, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		must(client.BeginTransaction())
		for part := range 2 {
			record := kgo.StringRecord(fmt.Sprintf("%d.%d", index, part))
			must(client.ProduceSync(ctx, record).FirstErr())
		}
		if index == 2 {
			tellOpen(admin)
		}
		must(client.EndTransaction(ctx, end))
	}
	tell("read committed", read("go-transactions", 4, kgo.FetchIsolationLevel(kgo.ReadCommitted())))
	tell("read uncommitted", read("go-transactions", 6))
	seen := completed(admin, "go-transactions")
	tell("transaction at its end", []any{seen.State, len(seen.Topics)})
	described, err := admin.DescribeTransactions(ctx, "go-nobody")
	must(err)
	tell("no transaction", word(described["go-nobody"].Err))
}

// completed waits for the markers of a transaction: its end is acknowledged before they are written, and an offset that was
// committed in it is not seen without them.
func completed(admin *kadm.Client, transaction string) kadm.DescribedTransaction {
	for {
		described, err := admin.DescribeTransactions(ctx, transaction)
		must(err)
		if seen := described[transaction]; strings.HasPrefix(seen.State, "Complete") {
			return seen
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tellOpen tells of the transaction in progress.
func tellOpen(admin *kadm.Client) {
	described, err := admin.DescribeTransactions(ctx, "go-transactions")
	must(err)
	seen := described["go-transactions"]
	tell("transaction", []any{seen.State, seen.Topics.Sorted()})
	listed, err := admin.ListTransactions(ctx, nil, []string{"Ongoing"})
	must(err)
	tell("list transactions", listed["go-transactions"].State)
	all, err := admin.ListEndOffsets(ctx, "go-transactions")
	must(err)
	committed, err := admin.ListCommittedOffsets(ctx, "go-transactions")
	must(err)
	tell("end and committed end", []int64{all["go-transactions"][0].Offset, committed["go-transactions"][0].Offset})
	producers, err := admin.DescribeProducers(ctx, kadm.TopicsSet{"go-transactions": {0: {}}})
	must(err)
	for _, producer := range producers["go-transactions"].Partitions[0].ActiveProducers.Sorted() {
		tell("producer", []any{producer.LastSequence >= 0, producer.CurrentTxnStartOffset})
	}
}

// groupTransaction copies what a group reads, once thrown away and once kept.
func groupTransaction(admin *kadm.Client) {
	_, err := admin.CreateTopic(ctx, 1, 1, nil, "go-copies")
	must(err)
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(broker), kgo.TransactionalID("go-copier"),
			kgo.ConsumerGroup("go-copier"), kgo.ConsumeTopics("go-transactions"), kgo.RequireStableFetchOffsets(),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		must(err)
		must(session.Begin())
		for copied := 0; copied < 4; {
			fetches := session.PollFetches(ctx)
			must(fetches.Err())
			for _, record := range fetches.Records() {
				copy := &kgo.Record{Topic: "go-copies", Value: record.Value}
				must(session.ProduceSync(ctx, copy).FirstErr())
				copied++
			}
		}
		ended, err := session.End(ctx, end)
		must(err)
		session.Close()
		completed(admin, "go-copier")
		offsets, err := admin.FetchOffsets(ctx, "go-copier")
		must(err)
		at := int64(-1)
		if offset, has := offsets.Lookup("go-transactions", 0); has {
			at = offset.At
		}
		tell(fmt.Sprintf("copied, kept %t", end), []any{ended, at})
	}
	tell("copies", read("go-copies", 4, kgo.FetchIsolationLevel(kgo.ReadCommitted())))
}

func fencing() {
	first := open(kgo.TransactionalID("go-fenced"), kgo.DefaultProduceTopic("go-transactions"))
	defer first.Close()
	must(first.BeginTransaction())
	must(first.ProduceSync(ctx, kgo.StringRecord("first")).FirstErr())
	second := open(kgo.TransactionalID("go-fenced"), kgo.DefaultProduceTopic("go-transactions"))
	defer second.Close()
	must(second.BeginTransaction())
	must(second.ProduceSync(ctx, kgo.StringRecord("second")).FirstErr())
	err := first.ProduceSync(ctx, kgo.StringRecord("late")).FirstErr()
	// Either is told, after the protocol that the two sides have agreed on.
	tell("fenced", errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch))
	must(second.EndTransaction(ctx, kgo.TryCommit))
	seen := read("go-transactions", 5, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	tell("the second counts", strings.Fields(seen[4])[1])
}

func ends(admin *kadm.Client) {
	names := []string{"go-settings", "go-codecs", "go-times", "go-group", "go-transactions", "go-copies"}
	deleted, err := admin.DeleteTopics(ctx, append(names, "go-nothing")...)
	must(err)
	for _, name := range append(names, "go-nothing") {
		tell("delete "+name, word(deleted[name].Err))
	}
}
