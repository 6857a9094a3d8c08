import av
from kafka import KafkaConsumer

decoders = {}
for msg in KafkaConsumer("raw_video", bootstrap_servers="127.0.0.1:9092"):
    if dict(msg.headers)["content-type"] == b"video/h264":
        decoder = decoders.setdefault(msg.key, av.CodecContext.create("h264", "r"))
        try:
            for frame in decoder.decode(av.Packet(msg.value)):
                picture = frame.to_ndarray(format="bgr24")
                print(msg.key.decode(), picture.shape)
        except av.error.InvalidDataError:
            pass  # no keyframe has come yet
