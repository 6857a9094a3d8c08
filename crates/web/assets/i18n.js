// Every text of the page, in English and Chinese.

const KEY = 'lumenbus.language';

const en = {
  'nav': 'Screens', 'nav.live': 'Live', 'nav.health': 'Health', 'nav.events': 'Events', 'nav.timeline': 'Timeline', 'nav.studies': 'Studies',
  'skip': 'Skip to the content', 'close': 'Close', 'later': 'This screen is not part of this version.',
  'language': 'Language: English. Switch to Chinese', 'language.short': 'EN',
  'theme.auto': 'Colours: as the system', 'theme.light': 'Colours: light', 'theme.dark': 'Colours: dark',
  'link.connecting': 'Connecting', 'link.open': 'Connected', 'link.closed': 'Disconnected', 'link.refused': 'Not admitted',
  'banner.closed': 'The connection to the viewer is lost. Trying again in {s} s.', 'banner.trying': 'The connection to the viewer is lost. Trying again now.',
  'banner.refused': 'The viewer does not admit this page: its token is missing or has changed. Open the address that the start message printed.',
  'banner.broker': 'Kafka is away. Pictures come back by themselves as soon as it answers.',
  'unit.days': '{n} days', 'fps': '{n} fps', 'since': 'since {time}',

  'headline': 'Headline', 'headline.bandwidth': 'Bandwidth against JPEG', 'headline.bandwidth.less': 'less',
  'headline.bandwidth.sub': '{coded} vs {jpeg} Mbit/s', 'headline.bandwidth.judged': '{coded} vs {jpeg} Mbit/s, SSIM {codedSsim} vs {jpegSsim}', 'headline.bandwidth.all': 'Bandwidth', 'headline.bandwidth.none': 'all cameras',
  'headline.age': 'Age, capture to screen', 'headline.age.here': 'median · p99 {p99}', 'headline.age.server': 'median at the viewer · p99 {p99}',
  'headline.loss': 'Unexplained losses', 'headline.loss.sub': '{missing} explained of {frames}',
  'headline.now': 'Cameras live', 'headline.now.sub': '{mbit} Mbit/s · watching: {viewers}',

  'search': 'Search cameras', 'groups': 'Groups', 'group.all': 'All', 'group.none': 'No group',
  'nothing.found': 'No camera matches. Esc clears the search.', 'nothing.cameras': 'No camera yet. Publish one:', 'nothing.connecting': 'Connecting to the viewer …',
  'actions': 'Try to break it', 'action.failed': 'That did not work: {why}',
  'log': 'What happened', 'log.empty': 'Nothing since this page was opened. Every gap, outage and return is listed here.', 'log.cameras': '{n} cameras',
  'log.offline': 'offline', 'log.online': 'back', 'log.end': 'ended', 'log.epoch': 'new session', 'log.disconnected': 'Kafka is away', 'log.connected': 'Kafka is back',
  'log.retention': 'retention', 'log.unreadable': 'unreadable record',

  'state.connecting': 'Connecting', 'state.live': 'Live', 'state.late': 'Late', 'state.offline': 'Offline', 'state.ended': 'Ended', 'state.denied': 'Wrong password',
  'state.unplayable': 'Not playable here', 'state.sealed': 'Sealed',
  'sealed.why': 'The pictures are encrypted, and this viewer holds no key for them.',
  'denied.why': 'The camera refused user name or password. Correct them in its source.',
  'unplayable.codec': 'This browser cannot decode {codec}.', 'unplayable.pixels': 'Uncompressed pixels are not sent to browsers.',
  'unplayable.h265': 'This browser cannot decode H.265. Try another browser, or publish with --codec h264.',
  'unplayable.failed': 'The decoder gave up: {why}',
  'unplayable.insecure': 'This browser decodes {codec} only over HTTPS or on localhost.',

  'boxes': 'Boxes', 'boxes.title': 'Boxes of what was found; pictures wait for them', 'boxes.wait': '{models} · waits {ms} ms', 'key.b': 'boxes of what was found',
  'catching-up': '{age} old, catching up', 'unplayable.other': 'Show {codec} ({stream})',
  'gap': 'gap', 'gap.frames': '{n} frames', 'gap.frame': '1 frame', 'gap.open': 'frames of unknown number', 'gap.from': 'from {first}', 'gap.extent': '{first} – {last}',
  'reason.overflow': 'queue full', 'reason.expired': 'past the deadline', 'reason.delivery-failed': 'not acknowledged by Kafka', 'reason.oversize': 'too large',
  'reason.undecodable': 'rest of a dropped GOP', 'reason.source-damaged': 'damaged at the source', 'reason.source-lost': 'camera was away', 'reason.stopped': 'publisher stopped',
  'reason.repeated': 'equal to the one before', 'reason.aborted': 'publisher died', 'reason.retention': 'deleted by retention', 'reason.record-damaged': 'record damaged',
  'reason.lagging': 'reader fell behind', 'reason.superseded': 'overtaken by a newer one', 'reason.joining': 'reader joined', 'reason.unexplained': 'unexplained', 'reason.other': 'another reason',

  'back': 'Back to all cameras', 'previous': 'Previous camera', 'next': 'Next camera', 'snapshot': 'Snapshot', 'full': 'Full screen',
  'snapshot.saved': 'Saved as {name}', 'snapshot.failed': 'No snapshot: {why}', 'camera.unknown': 'There is no camera “{id}” on this bus.',
  'figure.fps': 'Rate', 'figure.fps.unit': 'fps', 'figure.rate': 'Bitrate', 'figure.age': 'Age, median', 'figure.age.sub': 'p99 at the viewer {p99}', 'figure.frames': 'Frames', 'figure.frames.sub': '{missing} missing', 'figure.frames.repeated': '{repeated} repeated',
  'figure.unexplained': 'Unexplained',
  'plot.bitrate': 'Bitrate', 'plot.age': 'Age', 'plot.screen': 'on screen', 'plot.now': 'now',
  'stages': 'Where the time goes', 'stages.stage': 'Stage', 'stages.none': 'No frame has been measured yet.',
  'stage.encode': 'Encode', 'stage.queue': 'Queue', 'stage.append': 'Append', 'stage.receive': 'Receive', 'stage.send': 'Send', 'stage.decode': 'Decode', 'stage.shown': 'Show', 'stage.total': 'Capture to screen',
  'stage.encode.what': 'From capture until the publisher has the coded frame', 'stage.queue.what': 'In the publisher, until the Kafka client has it', 'stage.append.what': 'Until the broker has appended it',
  'stage.receive.what': 'Until the viewer has received it', 'stage.send.what': 'Until it is on its way to this page', 'stage.decode.what': 'From arrival in this page until it is decoded', 'stage.shown.what': 'Until it is on the screen',
  'stage.total.what': 'All of it',
  'gaps': 'Gaps', 'gaps.none': 'Nothing is missing.', 'commands': 'Without this page', 'copy': 'Copy', 'copied': 'Copied', 'copy.failed': 'Not copied: {why}',
  'about': 'About this stream', 'about.codec': 'Codec', 'about.size': 'Picture', 'about.topic': 'Topic', 'about.partition': 'partition {n}', 'about.bytes': 'Received', 'about.keyframe': 'Last keyframe', 'about.skipped': 'Skipped by slow pages',

  'timeline': 'Timeline', 'timeline.play': 'Play', 'timeline.pause': 'Pause', 'timeline.previous': 'Keyframe before', 'timeline.next': 'Next keyframe', 'timeline.live': 'Back to live', 'timeline.speed': 'Speed',
  'timeline.field': 'Go to a time', 'timeline.field.title': 'Go to a time: 14:03, 14:03:20, -10m, 2026-11-23 14:03', 'timeline.field.wrong': 'Type a time like 14:03, 14:03:20, -10m or 2026-11-23 14:03.',
  'timeline.in': 'Show less time', 'timeline.out': 'Show more time', 'timeline.mark-in': 'Clip begins here', 'timeline.mark-in.short': 'In', 'timeline.mark-out': 'Clip ends here', 'timeline.mark-out.short': 'Out',
  'timeline.export': 'Export clip', 'timeline.clear': 'Remove the marks', 'timeline.length': '{length} · about {size}', 'timeline.half': 'Mark the other end, too.', 'timeline.mark-first': 'Mark where the clip begins (I) and ends (O).',
  'timeline.exporting': 'The clip of {length} is being saved.', 'timeline.no-export': 'No clip: {why}', 'timeline.playing': 'Playing {speed}', 'timeline.recorded': 'Recorded', 'timeline.keyframe': 'Nearest keyframe',
  'timeline.twice': 'this time occurs twice, the later one is shown', 'timeline.loading': 'Looking for footage …', 'timeline.none': 'Nothing has been recorded yet.', 'timeline.nothing': 'no footage', 'timeline.since': 'Footage since {time} · {length}',
  'timeline.incomplete': 'not all of it has been searched', 'timeline.unread': 'The recording cannot be read: {why}',
  'overview.range': 'Stretch of time', 'overview.15m': '15 min', 'overview.1h': '1 hour', 'overview.6h': '6 hours', 'overview.1d': '1 day', 'overview.7d': '7 days', 'overview.now': 'Now', 'overview.hint': 'A click opens the camera at that moment; on the keyboard, arrows and Enter. Drag to move, Ctrl and wheel to zoom.', 'reason.unknown': 'nothing was recorded',
  'recall.caught-up': 'Caught up with live.', 'recall.ended': 'This is the end of the recording.', 'recall.failed': 'Cannot play: {why}', 'recall.nothing': 'There is no footage of that moment.', 'recall.no-picture': 'No picture of that moment: {why}', 'recall.chip': 'Recorded {time}',

  'health.state.ok': 'OK', 'health.state.dark': 'Dark', 'health.state.blurred': 'Blurred', 'health.state.frozen': 'Frozen', 'health.state.covered': 'Covered', 'health.state.moved': 'Moved',
  'event.ok': 'Back to normal', 'event.dark': 'Camera dark', 'event.blurred': 'Picture blurred', 'event.frozen': 'Picture frozen', 'event.covered': 'Camera covered', 'event.moved': 'Camera moved',
  'event.appeared': '{class} appeared', 'event.appeared.several': '{class} appeared, {n} at once', 'event.open': 'still there', 'event.open.health': 'still so', 'event.was': 'was {was}', 'event.was.for': 'was {was} for {length}', 'event.today': 'Today', 'event.yesterday': 'Yesterday',
  'class.person': 'person', 'class.face': 'face', 'class.car': 'car', 'class.motion': 'motion', 'class.object': 'object',
  'events.kind': 'Kind of event', 'events.kind.all': 'All', 'events.kind.presence': 'Seen', 'events.kind.health': 'Camera health', 'events.camera': 'Camera', 'events.camera.all': 'All cameras', 'events.what': 'What', 'events.what.all': 'Everything', 'events.day': 'Day', 'events.clear': 'Clear the filters',
  'events.new': '{n} new', 'events.of': 'Events of this camera', 'events.end': 'This is all there is.', 'events.end.cut': 'The viewer keeps the newest events only: what is older is in the topic lumenbus.events.', 'events.end.narrow': 'The newest {n} are shown. Choose a camera or a day to see older ones.',
  'events.nothing.none': 'Nothing has happened yet. What analysis sees shows up here at once.', 'events.nothing.found': 'No event matches.', 'events.nothing.reading': 'Reading events …', 'events.nothing.failed': 'Events cannot be read: {why}',
  'events.nothing.missing': 'Nobody looks for events yet. Analysis finds what appears, and cameras that are dark, blurred, frozen, covered or moved:',

  'health.good': 'Nothing needs you', 'health.at': 'as of {time}', 'health.problems': 'Needs you: {n}', 'health.unreachable': 'Kafka does not answer', 'health.unread': 'The viewer does not answer: {why}',
  'health.disk': 'Disk', 'health.left': 'until the disk is full', 'health.used': 'used', 'health.disk.used': '{used} used', 'health.disk.free': '{free} free', 'health.disk.unknown': 'free space unknown', 'health.estimate': 'estimated',
  'health.brokers': 'Brokers', 'health.embedded': 'Embedded broker', 'health.controller': 'controller', 'health.address': 'Address', 'health.none': 'Not known yet.',
  'health.groups': 'Consumer groups', 'health.groups.none': 'No consumer group has committed anything.', 'health.groups.group': 'Group', 'health.groups.state': 'State', 'health.groups.members': 'Members', 'health.groups.lag': 'Lag, records', 'health.groups.age': 'Age',
  'health.topics': 'Topics', 'health.topics.topic': 'Topic', 'health.topics.partitions': 'Partitions', 'health.topics.replication': 'Replicas', 'health.topics.under': 'Under-repl.', 'health.topics.offline': 'Offline', 'health.topics.records': 'Records', 'health.topics.bytes': 'Size',
  'health.drops': 'Missing frames by reason', 'health.budgets': 'Memory budgets', 'budget.viewer rings': 'newest frames in the viewer', 'health.problems.title': 'What to do',

  'studies.no-diagnosis': 'Not for diagnosis', 'studies.search': 'Search studies', 'studies.masked': 'patient masked', 'studies.all-masked': 'patient data stays on the server', 'studies.not-masked': 'patient data is shown, and every access recorded',
  'studies.count': '{n} studies', 'studies.count.one': '1 study', 'studies.series': '{n} series', 'studies.series.one': '1 series', 'studies.objects': '{n} objects', 'studies.object': '1 object', 'studies.undated': 'no date', 'studies.undescribed': 'No description',
  'studies.more': 'Show more', 'studies.reading': 'Reading what is there …', 'studies.away': 'Kafka is away: this is what was known', 'studies.nothing': 'No object has been sent yet.', 'studies.nothing.found': 'No study matches. Esc clears the search.', 'studies.failed': 'That cannot be shown: {why}',
  'studies.forgotten': 'the newest {n} objects; {older} older ones are in the log only', 'studies.unreadable': '{n} records cannot be read', 'studies.back': 'Back to all studies', 'studies.series.list': 'Series', 'studies.image': 'Image', 'studies.frame': 'Place in the series', 'studies.frame.n': 'frame {n}', 'studies.place': '{n} of {of}',
  'studies.window': 'Window', 'studies.window.value': 'C {center} · W {width}', 'studies.window.full': 'All values', 'studies.window.own': 'Own window', 'studies.reset': 'Reset window', 'studies.hint': 'Drag: width and centre of the window.', 'studies.hint.series': 'Wheel or arrows: through the series.',
  'studies.loading': 'Loading …', 'studies.no-picture': 'No picture: {why}.', 'studies.no-image': 'This object holds no image.', 'studies.broken': 'what came is not a frame', 'studies.attributes': 'Attributes', 'studies.attributes.masked': 'masked', 'studies.attributes.search': 'Search attributes', 'studies.attributes.cut': 'There are more attributes than are shown.',
  'studies.attributes.tag': 'Tag', 'studies.attributes.name': 'Name', 'studies.attributes.vr': 'VR', 'studies.attributes.value': 'Value', 'studies.private': 'private or unknown', 'studies.items': 'items: {n}',
  'studies.queues': 'Destinations', 'studies.queues.none': 'No destination is registered: nobody waits for objects.', 'studies.queues.done': 'has everything', 'studies.queues.oldest': 'oldest {age}', 'studies.queues.failed': '{n} failed', 'studies.queues.never': 'has never confirmed anything', 'studies.queues.deidentified': 'de-identified', 'studies.queues.failures': 'Not delivered: {n}',

  'help': 'Keys', 'help.open': 'Help: keys', 'key.arrows': 'between tiles; on a camera, to its neighbours', 'key.enter': 'opens the camera', 'key.esc': 'back', 'key.search': 'search', 'key.s': 'saves a snapshot',
  'key.f': 'full screen', 'key.t': 'colours', 'key.l': 'language', 'key.g': 'Live, Health', 'key.help': 'this list',
  'help.timeline': 'On a camera', 'key.space': 'plays, pauses', 'key.keyframe': 'keyframe before, after', 'key.far': 'ten seconds back, on', 'key.neighbour': 'camera before, after', 'key.live': 'back to live', 'key.mark': 'clip begins, ends here', 'key.export': 'exports the clip', 'key.rows': 'between events', 'key.moment': 'opens the recording', 'key.event-clip': 'exports a clip of it', 'key.zoom': 'shows less, more time',
};

const zh = {
  'nav': '页面', 'nav.live': '实时', 'nav.health': '健康', 'nav.events': '事件', 'nav.timeline': '时间轴', 'nav.studies': '检查',
  'skip': '跳到内容', 'close': '关闭', 'later': '此版本不包含这个页面。',
  'language': '语言：中文。切换为英文', 'language.short': '中',
  'theme.auto': '颜色：跟随系统', 'theme.light': '颜色：浅色', 'theme.dark': '颜色：深色',
  'link.connecting': '正在连接', 'link.open': '已连接', 'link.closed': '已断开', 'link.refused': '未获准入',
  'banner.closed': '与查看器的连接已断开，{s} 秒后重试。', 'banner.trying': '与查看器的连接已断开，正在重试。',
  'banner.refused': '查看器未准许此页面：缺少令牌或令牌已更换。请打开启动信息中给出的地址。',
  'banner.broker': 'Kafka 无法访问，恢复应答后画面会自动回来。',
  'unit.days': '{n} 天', 'fps': '{n} 帧/秒', 'since': '自 {time}',

  'headline': '概要', 'headline.bandwidth': '与 JPEG 相比的带宽', 'headline.bandwidth.less': '更省',
  'headline.bandwidth.sub': '{coded} 对 {jpeg} Mbit/s', 'headline.bandwidth.judged': '{coded} 对 {jpeg} Mbit/s，SSIM {codedSsim} 对 {jpegSsim}', 'headline.bandwidth.all': '带宽', 'headline.bandwidth.none': '所有摄像机合计',
  'headline.age': '时延：采集到屏幕', 'headline.age.here': '中位数 · p99 {p99}', 'headline.age.server': '查看器处中位数 · p99 {p99}',
  'headline.loss': '无法解释的丢失', 'headline.loss.sub': '{missing} 帧有原因，共 {frames} 帧',
  'headline.now': '在线摄像机', 'headline.now.sub': '{mbit} Mbit/s · {viewers} 人在看',

  'search': '搜索摄像机', 'groups': '分组', 'group.all': '全部', 'group.none': '未分组',
  'nothing.found': '没有匹配的摄像机。按 Esc 清除搜索。', 'nothing.cameras': '还没有摄像机。发布一路：', 'nothing.connecting': '正在连接查看器……',
  'actions': '弄坏它试试', 'action.failed': '未能执行：{why}',
  'log': '发生了什么', 'log.empty': '打开本页后还没有任何情况。每个缺口、中断和恢复都会列在这里。', 'log.cameras': '{n} 路摄像机',
  'log.offline': '离线', 'log.online': '恢复', 'log.end': '已结束', 'log.epoch': '新会话', 'log.disconnected': 'Kafka 无法访问', 'log.connected': 'Kafka 已恢复',
  'log.retention': '超出保留期', 'log.unreadable': '无法读取的记录',

  'state.connecting': '正在连接', 'state.live': '实时', 'state.late': '滞后', 'state.offline': '离线', 'state.ended': '已结束', 'state.denied': '密码错误',
  'state.unplayable': '此处无法播放', 'state.sealed': '已加密',
  'sealed.why': '画面已加密，此查看器没有对应的密钥。',
  'denied.why': '摄像机拒绝了用户名或密码，请在视频源中更正。',
  'unplayable.codec': '此浏览器无法解码 {codec}。', 'unplayable.pixels': '未压缩的像素不会发送到浏览器。',
  'unplayable.h265': '此浏览器无法解码 H.265。请换一个浏览器，或用 --codec h264 发布。',
  'unplayable.failed': '解码器已放弃：{why}',
  'unplayable.insecure': '此浏览器只在 HTTPS 或 localhost 下解码 {codec}。',

  'boxes': '检测框', 'boxes.title': '显示分析结果的检测框；画面会等待它们', 'boxes.wait': '{models} · 等待 {ms} 毫秒', 'key.b': '显示检测框',
  'catching-up': '{age}前的画面，正在追赶', 'unplayable.other': '显示 {codec}（{stream}）',
  'gap': '缺口', 'gap.frames': '{n} 帧', 'gap.frame': '1 帧', 'gap.open': '帧数未知', 'gap.from': '自 {first}', 'gap.extent': '{first} – {last}',
  'reason.overflow': '队列已满', 'reason.expired': '超过期限', 'reason.delivery-failed': 'Kafka 未确认', 'reason.oversize': '过大',
  'reason.undecodable': '被丢弃 GOP 的其余部分', 'reason.source-damaged': '源数据损坏', 'reason.source-lost': '摄像机不在线', 'reason.stopped': '发布端已停止',
  'reason.repeated': '与前一帧相同', 'reason.aborted': '发布端异常终止', 'reason.retention': '已过保留期', 'reason.record-damaged': '记录损坏',
  'reason.lagging': '读取端落后', 'reason.superseded': '被更新的帧取代', 'reason.joining': '读取端刚加入', 'reason.unexplained': '无法解释', 'reason.other': '其他原因',

  'back': '返回全部摄像机', 'previous': '上一路摄像机', 'next': '下一路摄像机', 'snapshot': '截图', 'full': '全屏',
  'snapshot.saved': '已保存为 {name}', 'snapshot.failed': '截图失败：{why}', 'camera.unknown': '总线上没有摄像机“{id}”。',
  'figure.fps': '帧率', 'figure.fps.unit': '帧/秒', 'figure.rate': '码率', 'figure.age': '时延中位数', 'figure.age.sub': '查看器处 p99 {p99}', 'figure.frames': '帧数', 'figure.frames.sub': '缺失 {missing}', 'figure.frames.repeated': '重复 {repeated}',
  'figure.unexplained': '无法解释',
  'plot.bitrate': '码率', 'plot.age': '时延', 'plot.screen': '屏幕', 'plot.now': '现在',
  'stages': '时间花在哪里', 'stages.stage': '阶段', 'stages.none': '还没有测量到任何一帧。',
  'stage.encode': '编码', 'stage.queue': '排队', 'stage.append': '写入', 'stage.receive': '接收', 'stage.send': '发送', 'stage.decode': '解码', 'stage.shown': '显示', 'stage.total': '采集到屏幕',
  'stage.encode.what': '从采集到发布端得到编码帧', 'stage.queue.what': '在发布端等待，直到交给 Kafka 客户端', 'stage.append.what': '直到代理写入日志',
  'stage.receive.what': '直到查看器收到', 'stage.send.what': '直到发往本页', 'stage.decode.what': '从到达本页到解码完成', 'stage.shown.what': '直到出现在屏幕上',
  'stage.total.what': '全程',
  'gaps': '缺口', 'gaps.none': '没有缺失。', 'commands': '不用本页读取', 'copy': '复制', 'copied': '已复制', 'copy.failed': '未能复制：{why}',
  'about': '关于此流', 'about.codec': '编码', 'about.size': '画面', 'about.topic': '主题', 'about.partition': '分区 {n}', 'about.bytes': '已接收', 'about.keyframe': '最近关键帧', 'about.skipped': '慢速页面跳过',

  'timeline': '时间轴', 'timeline.play': '播放', 'timeline.pause': '暂停', 'timeline.previous': '上一关键帧', 'timeline.next': '下一关键帧', 'timeline.live': '回到实时', 'timeline.speed': '速度',
  'timeline.field': '跳到某一时刻', 'timeline.field.title': '跳到某一时刻：14:03、14:03:20、-10m、2026-11-23 14:03', 'timeline.field.wrong': '请输入时刻，例如 14:03、14:03:20、-10m 或 2026-11-23 14:03。',
  'timeline.in': '放大', 'timeline.out': '缩小', 'timeline.mark-in': '片段从此处开始', 'timeline.mark-in.short': '起点', 'timeline.mark-out': '片段到此处结束', 'timeline.mark-out.short': '终点',
  'timeline.export': '导出片段', 'timeline.clear': '清除标记', 'timeline.length': '{length} · 约 {size}', 'timeline.half': '请再标记另一端。', 'timeline.mark-first': '请先标记片段的起点（I）和终点（O）。',
  'timeline.exporting': '正在保存 {length} 的片段。', 'timeline.no-export': '无法导出：{why}', 'timeline.playing': '播放 {speed}', 'timeline.recorded': '录像', 'timeline.keyframe': '最近的关键帧',
  'timeline.twice': '该时刻出现两次，显示较晚的一次', 'timeline.loading': '正在查找录像……', 'timeline.none': '还没有任何录像。', 'timeline.nothing': '没有录像', 'timeline.since': '录像自 {time} 起 · {length}',
  'timeline.incomplete': '尚未全部查找', 'timeline.unread': '无法读取录像：{why}',
  'overview.range': '时间范围', 'overview.15m': '15 分钟', 'overview.1h': '1 小时', 'overview.6h': '6 小时', 'overview.1d': '1 天', 'overview.7d': '7 天', 'overview.now': '现在', 'overview.hint': '点击可打开该时刻的摄像机画面；键盘操作请用方向键和回车。拖动可平移，Ctrl 加滚轮可缩放。', 'reason.unknown': '没有录制',
  'recall.caught-up': '已追上实时。', 'recall.ended': '录像到此结束。', 'recall.failed': '无法播放：{why}', 'recall.nothing': '该时刻没有录像。', 'recall.no-picture': '没有该时刻的画面：{why}', 'recall.chip': '录像 {time}',

  'health.state.ok': '正常', 'health.state.dark': '过暗', 'health.state.blurred': '模糊', 'health.state.frozen': '冻结', 'health.state.covered': '被遮挡', 'health.state.moved': '被移动',
  'event.ok': '恢复正常', 'event.dark': '画面过暗', 'event.blurred': '画面模糊', 'event.frozen': '画面冻结', 'event.covered': '镜头被遮挡', 'event.moved': '摄像机被移动',
  'event.appeared': '出现：{class}', 'event.appeared.several': '出现：{class}，同时 {n} 个', 'event.open': '仍在画面中', 'event.open.health': '仍未恢复', 'event.was': '此前：{was}', 'event.was.for': '此前：{was}，{length}', 'event.today': '今天', 'event.yesterday': '昨天',
  'class.person': '人', 'class.face': '人脸', 'class.car': '汽车', 'class.motion': '运动', 'class.object': '物体',
  'events.kind': '事件类型', 'events.kind.all': '全部', 'events.kind.presence': '出现', 'events.kind.health': '摄像机健康', 'events.camera': '摄像机', 'events.camera.all': '全部摄像机', 'events.what': '内容', 'events.what.all': '全部内容', 'events.day': '日期', 'events.clear': '清除筛选',
  'events.new': '{n} 条新事件', 'events.of': '此摄像机的事件', 'events.end': '没有更早的事件。', 'events.end.cut': '查看器只保留最新的事件，更早的在主题 lumenbus.events 中。', 'events.end.narrow': '已显示最新的 {n} 条。选择摄像机或日期可查看更早的事件。',
  'events.nothing.none': '还没有任何事件。分析发现的情况会立即显示在这里。', 'events.nothing.found': '没有匹配的事件。', 'events.nothing.reading': '正在读取事件……', 'events.nothing.failed': '无法读取事件：{why}',
  'events.nothing.missing': '还没有进程分析事件。分析会发现出现的对象，以及过暗、模糊、冻结、被遮挡或被移动的摄像机：',

  'health.good': '一切正常', 'health.at': '截至 {time}', 'health.problems': '待处理：{n}', 'health.unreachable': 'Kafka 没有应答', 'health.unread': '查看器没有应答：{why}',
  'health.disk': '磁盘', 'health.left': '后磁盘写满', 'health.used': '已用', 'health.disk.used': '已用 {used}', 'health.disk.free': '剩余 {free}', 'health.disk.unknown': '剩余空间未知', 'health.estimate': '估计值',
  'health.brokers': '代理', 'health.embedded': '内置代理', 'health.controller': '控制器', 'health.address': '地址', 'health.none': '尚不清楚。',
  'health.groups': '消费组', 'health.groups.none': '没有消费组提交过位置。', 'health.groups.group': '组', 'health.groups.state': '状态', 'health.groups.members': '成员', 'health.groups.lag': '滞后记录数', 'health.groups.age': '时延',
  'health.topics': '主题', 'health.topics.topic': '主题', 'health.topics.partitions': '分区', 'health.topics.replication': '副本', 'health.topics.under': '副本不足', 'health.topics.offline': '离线', 'health.topics.records': '记录', 'health.topics.bytes': '大小',
  'health.drops': '缺失帧（按原因）', 'health.budgets': '内存预算', 'budget.viewer rings': '查看器中的最新帧', 'health.problems.title': '待处理',

  'studies.no-diagnosis': '不可用于诊断', 'studies.search': '搜索检查', 'studies.masked': '患者已隐藏', 'studies.all-masked': '患者数据不离开服务器', 'studies.not-masked': '显示患者数据，每次访问均有记录',
  'studies.count': '{n} 项检查', 'studies.count.one': '1 项检查', 'studies.series': '{n} 个序列', 'studies.series.one': '1 个序列', 'studies.objects': '{n} 个对象', 'studies.object': '1 个对象', 'studies.undated': '无日期', 'studies.undescribed': '无描述',
  'studies.more': '显示更多', 'studies.reading': '正在读取 …', 'studies.away': 'Kafka 无响应：以下为已知内容', 'studies.nothing': '尚未发送任何对象。', 'studies.nothing.found': '没有匹配的检查。按 Esc 清除搜索。', 'studies.failed': '无法显示：{why}',
  'studies.forgotten': '最新的 {n} 个对象；另有 {older} 个较早的对象仅在日志中', 'studies.unreadable': '{n} 条记录无法读取', 'studies.back': '返回全部检查', 'studies.series.list': '序列', 'studies.image': '图像', 'studies.frame': '序列中的位置', 'studies.frame.n': '第 {n} 帧', 'studies.place': '{n} / {of}',
  'studies.window': '窗口', 'studies.window.value': '窗位 {center} · 窗宽 {width}', 'studies.window.full': '全部数值', 'studies.window.own': '自定义窗口', 'studies.reset': '重置窗口', 'studies.hint': '拖动：窗宽与窗位。', 'studies.hint.series': '滚轮或方向键：浏览序列。',
  'studies.loading': '正在加载 …', 'studies.no-picture': '无图像：{why}。', 'studies.no-image': '该对象不含图像。', 'studies.broken': '收到的不是一帧图像', 'studies.attributes': '属性', 'studies.attributes.masked': '已隐藏', 'studies.attributes.search': '搜索属性', 'studies.attributes.cut': '属性多于所显示的内容。',
  'studies.attributes.tag': '标签', 'studies.attributes.name': '名称', 'studies.attributes.vr': 'VR', 'studies.attributes.value': '值', 'studies.private': '私有或未知', 'studies.items': '条目：{n}',
  'studies.queues': '目的地', 'studies.queues.none': '没有登记的目的地：没有人在等待对象。', 'studies.queues.done': '已全部收到', 'studies.queues.oldest': '最早 {age}', 'studies.queues.failed': '{n} 个失败', 'studies.queues.never': '从未确认', 'studies.queues.deidentified': '已去标识', 'studies.queues.failures': '未送达：{n}',

  'help': '按键', 'help.open': '帮助：按键', 'key.arrows': '在画面之间移动；在摄像机页切换相邻摄像机', 'key.enter': '打开摄像机', 'key.esc': '返回', 'key.search': '搜索', 'key.s': '保存截图',
  'key.f': '全屏', 'key.t': '颜色', 'key.l': '语言', 'key.g': '实时、健康', 'key.help': '此列表',
  'help.timeline': '摄像机页', 'key.space': '播放、暂停', 'key.keyframe': '上一、下一关键帧', 'key.far': '后退、前进十秒', 'key.neighbour': '上一、下一路摄像机', 'key.live': '回到实时', 'key.mark': '片段起点、终点', 'key.export': '导出片段', 'key.rows': '在事件之间移动', 'key.moment': '打开录像', 'key.event-clip': '导出该事件的片段', 'key.zoom': '放大、缩小时间轴',
};

export const texts = { en, zh };

/** What the browser keeps; a page that may not store anything works without. */
export const memory = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // Then the choice lasts as long as the page.
    }
  },
};

function preferred() {
  const kept = memory.get(KEY);
  if (kept && Object.hasOwn(texts, kept)) return kept;
  return (navigator.languages ?? [navigator.language]).some((tag) => /^zh\b/i.test(tag ?? '')) && !/^en\b/i.test(navigator.language) ? 'zh' : 'en';
}

let current = preferred();

export const language = () => current;

export function setLanguage(to) {
  current = to;
  memory.set(KEY, to);
}

/** The text for a key, with `{name}` replaced; `otherwise` where there is none. */
export function t(key, values = {}, otherwise = key) {
  const table = texts[current];
  if (!Object.hasOwn(table, key)) return otherwise;
  return table[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

export const stateText = (state) => t(`state.${state}`);
export const stageName = (stage) => t(`stage.${stage}`);
export const gapReason = (reason) => t(`reason.${reason}`, {}, reason);

/** "gap · 12 frames · publisher died" */
export function gapText(gap) {
  const frames = gap.last === null ? '' : gap.last === gap.first ? t('gap.frame') : t('gap.frames', { n: gap.last - gap.first + 1 });
  return [t('gap'), frames, gapReason(gap.reason)].filter(Boolean).join(' · ');
}

/** Why a stream is not playable here, and what to do. */
export function troubleText({ facts, trouble }) {
  if (trouble !== 'codec') return t('unplayable.failed', { why: trouble });
  if (facts.codec === 'raw') return t('unplayable.pixels');
  const codec = { h264: 'H.264', h265: 'H.265', av1: 'AV1', jpeg2000: 'JPEG 2000' }[facts.codec] ?? facts.codec;
  if (!window.isSecureContext && facts.codec === 'av1') return t('unplayable.insecure', { codec });
  if (facts.codec === 'h265') return t('unplayable.h265');
  return t('unplayable.codec', { codec });
}
