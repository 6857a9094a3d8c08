import cv2, numpy as np
from kafka import KafkaConsumer

for msg in KafkaConsumer("raw_images", bootstrap_servers="127.0.0.1:9092"):
    if dict(msg.headers)["content-type"].startswith(b"image/"):
        picture = cv2.imdecode(np.frombuffer(msg.value, np.uint8), cv2.IMREAD_COLOR)
        print(msg.key.decode(), picture.shape)
