# Top-down heatmap keypoints with SCNet-101 at 256x192; mmpose's recipe for ResNet-101.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res101_8xb64-210e_coco-256x192.py',
    '../_base_/backbones/pose_scnet101.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
