import time, cv2, numpy as np
from kafka import KafkaConsumer

consumer = KafkaConsumer("raw_images", bootstrap_servers="127.0.0.1:9092")
while True:
    newest = {}
    for records in consumer.poll(timeout_ms=1000).values():
        newest.update({msg.key: msg for msg in records if dict(msg.headers)["content-type"].startswith(b"image/")})
    for msg in newest.values():
        picture = cv2.imdecode(np.frombuffer(msg.value, np.uint8), cv2.IMREAD_COLOR)
        time.sleep(0.3)  # a slow detector
        print(msg.key.decode(), picture.shape, f"{time.time() * 1000 - msg.timestamp:.0f} ms old")
