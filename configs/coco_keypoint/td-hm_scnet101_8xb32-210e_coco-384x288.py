# Top-down heatmap keypoints with SCNet-101 at 384x288; mmpose's recipe for ResNet-101.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res101_8xb32-210e_coco-384x288.py',
    '../_base_/backbones/pose_scnet101.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
